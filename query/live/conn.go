package live

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weirhq/weir/store"
)

const (
	pingEvery    = 15 * time.Second
	silence      = 3 * pingEvery // a client that answers no ping for so long is gone
	writeTimeout = 10 * time.Second
	maxRequest   = 64 << 10
)

type message struct {
	binary bool
	body   []byte
}

// conn is one open page. Its reader owns subs; everybody may write to out.
type conn struct {
	hub    *Hub
	tenant store.Tenant
	out    chan message
	done   chan struct{}
	once   sync.Once
	code   int
	reason string
	subs   map[uint32]*subscription
}

// subscription is one topic on one connection. started, gapped and seq belong to its feed's lock.
type subscription struct {
	id      uint32
	conn    *conn
	feed    *feed
	seq     uint32
	started bool
	gapped  bool
}

// send numbers and queues a payload; false when the client is too slow to take it now.
func (s *subscription) send(kind string, p *payload) bool {
	var m message
	switch {
	case p == nil:
		m.body = encodeText(s.id, s.seq+1, kind, nil)
	case p.binary:
		m.binary = true
		m.body = append([]byte(nil), p.body...)
		binary.LittleEndian.PutUint32(m.body, s.id)
		binary.LittleEndian.PutUint32(m.body[4:], s.seq+1)
	default:
		m.body = encodeText(s.id, s.seq+1, kind, p.body)
	}
	select {
	case s.conn.out <- m:
		s.seq++
		return true
	default:
		return false
	}
}

func (s *subscription) sendError(msg string) {
	select {
	case s.conn.out <- message{body: encodeError(s.id, msg)}:
	default: // values may be missed by a slow client; the next snapshot follows
	}
}

func (c *conn) close(code int, reason string) {
	c.once.Do(func() {
		c.code, c.reason = code, reason
		close(c.done)
	})
}

// serve reads requests until the client or the server ends the connection.
func (c *conn) serve(ws *websocket.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { c.write(ws) })
	ws.SetReadLimit(maxRequest)
	alive := func() { _ = ws.SetReadDeadline(time.Now().Add(silence)) } // fails only on a closed connection, which the next read reports
	alive()
	ws.SetPongHandler(func(string) error { alive(); return nil })
	for {
		kind, b, err := ws.ReadMessage()
		if err != nil {
			break
		}
		alive()
		if kind != websocket.TextMessage {
			c.close(websocket.CloseUnsupportedData, "requests are JSON text")
			break
		}
		c.handle(b)
	}
	c.close(websocket.CloseNormalClosure, "")
	wg.Wait()
}

func (c *conn) handle(b []byte) {
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		c.answer(0, fmt.Sprintf("cannot read the request: %s", err))
		return
	}
	switch q.Op {
	case "sub":
		if old := c.subs[q.ID]; old != nil {
			c.hub.leave(old)
			delete(c.subs, q.ID)
		}
		if len(c.subs) >= c.hub.cfg.MaxSubscriptions {
			c.hub.refuse.Inc()
			c.answer(q.ID, fmt.Sprintf("a connection may hold %d subscriptions: end one first", c.hub.cfg.MaxSubscriptions))
			return
		}
		s := &subscription{id: q.ID, conn: c}
		if err := c.hub.join(s, q); err != nil {
			c.answer(q.ID, err.Error())
			return
		}
		c.subs[q.ID] = s
	case "unsub":
		if s := c.subs[q.ID]; s != nil {
			c.hub.leave(s)
			delete(c.subs, q.ID)
		}
	default:
		c.answer(q.ID, fmt.Sprintf("op is %q: must be sub or unsub", q.Op))
	}
}

func (c *conn) answer(id uint32, msg string) {
	select {
	case c.out <- message{body: encodeError(id, msg)}:
	case <-c.done:
	}
}

func (c *conn) write(ws *websocket.Conn) {
	defer ws.Close()
	defer c.close(websocket.CloseAbnormalClosure, "") // a reader that waits to answer must not wait for ever
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.done:
			deadline := time.Now().Add(time.Second)
			if err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.code, c.reason), deadline); err != nil {
				return
			}
			return
		case <-ping.C:
			deadline := time.Now().Add(writeTimeout)
			if ws.WriteControl(websocket.PingMessage, nil, deadline) != nil || c.put(ws, message{body: fmt.Appendf(nil, `{"kind":"ping","t":%d}`, time.Now().UnixMilli())}) != nil {
				return
			}
		case m := <-c.out:
			if c.put(ws, m) != nil {
				return
			}
		}
	}
}

func (c *conn) put(ws *websocket.Conn, m message) error {
	if err := ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	kind := websocket.TextMessage
	if m.binary {
		kind = websocket.BinaryMessage
	}
	c.hub.sent.Inc()
	return ws.WriteMessage(kind, m.body)
}
