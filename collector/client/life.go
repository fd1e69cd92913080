package client

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// firstMost is how many records, in or out, a client says at first that it may hold untold.
const firstMost = 64

// sayWait bounds how long counting waits for a full socket when it has to say that it holds more.
const sayWait = 10 * time.Millisecond

// life is what the client says about itself: that it lives, and that it holds no more than so many records untold. Of a
// process that ends without a last word the collector then knows how much is not known. Guarded by Client.mu.
type life struct {
	id      string // "" = nothing is said: nobody but Run says when it stops
	conn    net.Conn
	most    uint64 // said last
	recent  uint64 // most that it held lately
	in, out uint64 // counted and not sent
}

// holds counts records that are not sent, and says so before they are more than it said.
func (c *Client) holds(dir string, n uint64) {
	l := &c.life
	switch dir {
	case "in":
		l.in += n
	case "failed", "retried":
		return
	default:
		l.out += n
	}
	if most := max(l.in, l.out); l.id != "" && most > l.most {
		l.most = 2 * most
		c.say(",raise:1")
	}
}

// say sends the word; of a collector that is not there nothing is expected.
func (c *Client) say(more string) {
	l := &c.life
	if l.conn == nil {
		conn, err := (&net.Dialer{Timeout: sayWait}).Dial(c.network, c.addr)
		if err != nil {
			return
		}
		l.conn = conn
	}
	text := fmt.Sprintf("weir.audit.run:%d|g|#p:%s,st:%s,run:%s,ev:%d%s,svc:%s%s",
		l.most, c.cfg.Pipeline, c.cfg.Stage, l.id, max(c.cfg.Flush.Milliseconds(), 1), more, c.cfg.Service, c.suffix)
	err := l.conn.SetWriteDeadline(time.Now().Add(sayWait))
	if err == nil {
		_, err = l.conn.Write([]byte(text))
	}
	if err != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// begin says that the client lives.
func (c *Client) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.id != "" {
		return
	}
	c.life.id = fmt.Sprintf("%016x", rand.Uint64())
	c.life.most = max(firstMost, 2*c.life.in, 2*c.life.out)
	c.say("")
}

// sent says that all that was counted before a flush has been sent: in and out are what that was.
func (c *Client) sent(in, out uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.life
	l.in, l.out = l.in-in, l.out-out
	if l.id == "" {
		return
	}
	l.recent = max(l.recent-l.recent/8, in, out)
	l.most = max(firstMost, 2*l.recent, 2*l.in, 2*l.out)
	c.say("")
}

// end says the last word: that everything is told, if it is.
func (c *Client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.life
	if l.id != "" && l.in == 0 && l.out == 0 {
		c.say(",end:1")
	}
	l.id = ""
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}
