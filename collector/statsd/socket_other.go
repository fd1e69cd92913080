//go:build !linux

package statsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// socket reads UDP datagram by datagram: enough to develop on other systems. Nodes run Linux, where datagrams
// are read in batches, drops of the kernel are known and Unix sockets name their senders.
type socket struct {
	conn   net.PacketConn
	addr   net.Addr
	reader *reader
}

// streams stands for the Unix stream socket, which is for Linux only.
type streams struct{ reader *reader }

func (*streams) run(context.Context) error { return nil }
func (*streams) close() error              { return nil }

func (l *Listener) open(ctx context.Context) error {
	if l.cfg.Unix != "" || l.cfg.UnixStream != "" {
		return fmt.Errorf("cannot listen on statsd.unix %q and statsd.unix_stream %q: senders are only known on Linux; leave both empty and use statsd.udp", l.cfg.Unix, l.cfg.UnixStream)
	}
	if l.cfg.UDP == "" {
		return nil
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", l.cfg.UDP)
	if err != nil {
		return fmt.Errorf("cannot listen on statsd.udp %q: %w; choose another address or stop what holds it", l.cfg.UDP, err)
	}
	l.sockets = append(l.sockets, &socket{conn: c, addr: c.LocalAddr(), reader: l.newReader("statsd_udp")})
	return nil
}

func (s *socket) run(ctx context.Context) error {
	r := s.reader
	buf := make([]byte, 64<<10)
	for {
		n, _, err := s.conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("cannot read from the statsd socket: %w", err)
		}
		from := r.reg.sender(r.door.name, Tags{Node: r.reg.origins.Self().Node})
		r.mu.Lock()
		r.now = time.Now().UnixNano()
		r.datagram(buf[:n], from)
		r.door.datagrams.Inc()
		r.report()
		r.mu.Unlock()
	}
}

func (*socket) kernelDrops() {}

func (s *socket) wake() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

func (s *socket) close() error { return s.conn.Close() }
