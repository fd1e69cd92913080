package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// line is one line of a datagram and what to take back when it could not be sent.
type line struct {
	text   string
	cell   key
	counts counts
	plain  string
	value  float64
	lost   uint64 // a report of lost counts of window cell.window
}

// maxDatagram keeps a datagram within one packet.
const maxDatagram = 1400

// Flush sends what has been counted since the last flush; what cannot be sent is kept.
// It must not be called by two goroutines at once, nor beside Run.
func (c *Client) Flush(ctx context.Context) {
	c.mu.Lock()
	cells, plain, values, untold := c.cells, c.plain, c.values, c.untold
	c.cells, c.plain, c.values, c.untold = make(map[key]*counts, len(cells)), map[string]float64{}, nil, map[int64]uint64{}
	in, out := c.life.in, c.life.out
	c.mu.Unlock()
	var lines []line
	for _, v := range values {
		lines = append(lines, line{text: v})
	}
	for k, v := range plain {
		name, tags, _ := strings.Cut(k, "\x00")
		lines = append(lines, line{text: fmt.Sprintf("%s:%g|c|#%s%s", name, v, tags, c.suffix), plain: k, value: v})
	}
	for w, n := range untold {
		text := fmt.Sprintf("weir.audit.lost:%d|c|#p:%s,st:%s", n, c.cfg.Pipeline, c.cfg.Stage)
		if w != 0 {
			text += fmt.Sprintf(",ew:%d", w)
		}
		lines = append(lines, line{text: text + c.suffix, cell: key{window: w}, lost: n})
	}
	for k, v := range cells {
		lines = append(lines, c.lines(k, v)...)
	}
	for len(lines) > 0 {
		n, size := 0, 0
		for n < len(lines) && (n == 0 || size+1+len(lines[n].text) <= maxDatagram) {
			size += 1 + len(lines[n].text)
			n++
		}
		if err := c.send(ctx, lines[:n]); err != nil {
			c.keep(lines)
			return
		}
		lines = lines[n:]
	}
	c.sent(in, out)
}

// conn is the socket; it is opened again after an error.
type conn struct{ net.Conn }

func (s *conn) close() {
	if s.Conn != nil {
		_ = s.Conn.Close()
		s.Conn = nil
	}
}

func (c *Client) send(ctx context.Context, lines []line) error {
	if c.conn.Conn == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, c.network, c.addr)
		if err != nil {
			return err
		}
		c.conn.Conn = conn
	}
	var b []byte
	for i, l := range lines {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, l.text...)
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if err == nil {
		_, err = c.conn.Write(b)
	}
	if err != nil {
		c.conn.close()
	}
	return err
}

// keep adds unsent counts back, oldest windows given up first when there are too many.
func (c *Client) keep(lines []line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range lines {
		l := &lines[i]
		switch {
		case l.plain != "":
			c.plain[l.plain] += l.value
			continue
		case l.lost > 0:
			c.untold[l.cell.window] += l.lost
			continue
		case l.cell == key{}:
			continue // a single observation is not worth keeping
		}
		v := c.cells[l.cell]
		if v == nil {
			v = &counts{m: minM, stride: 1}
			c.cells[l.cell] = v
		}
		v.add(&l.counts)
	}
	over := len(c.cells) - c.cfg.MaxKept
	if over <= 0 {
		return
	}
	keys := make([]key, 0, len(c.cells))
	for k := range c.cells {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return int(a.window - b.window) })
	for _, k := range keys[:over] {
		n := c.cells[k].n
		c.lost += n
		if len(c.untold) < c.cfg.MaxKept {
			c.untold[k.window] += n
		} else {
			c.untold[0] += n
		}
		delete(c.cells, k)
	}
}
