package statsd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// streams serves the Unix stream socket: packets with their length before them, 32 bit little-endian.
type streams struct {
	listener *net.UnixListener
	path     string
	inode    uint64
	reader   *reader // shared by the connections, under its lock
	max      int

	mu      sync.Mutex
	stopped bool
	conns   map[net.Conn]struct{}
}

const (
	maxPacket  = 64 << 10
	idleStream = 10 * time.Minute // a silent connection is closed; clients connect again
)

func (l *Listener) openStreams(ctx context.Context) (*streams, error) {
	c, inode, err := bindUnix(ctx, l.cfg, "unix", l.cfg.UnixStream, func(a *net.UnixAddr) (*net.UnixListener, error) { return net.ListenUnix("unix", a) })
	if err != nil {
		return nil, err
	}
	c.SetUnlinkOnClose(false) // removeOwn looks whose file it is
	r := newReader(l.reg, newDoor(l.set, "statsd_unix"), l.auditDoor, l.audit)
	return &streams{listener: c, path: l.cfg.UnixStream, inode: inode, reader: r, max: l.cfg.MaxStreams, conns: map[net.Conn]struct{}{}}, nil
}

func (s *streams) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, s.stop)()
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if !s.admit(ctx, c) {
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

func (s *streams) admit(ctx context.Context, c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.max || s.stopped || ctx.Err() != nil {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// stop ends accepting and reading.
func (s *streams) stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for c := range s.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *streams) serve(c *net.UnixConn) {
	pid := peer(c)
	in := bufio.NewReaderSize(c, 32<<10)
	var head [4]byte
	var buf []byte
	for {
		if s.idle(c) != nil {
			return
		}
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > maxPacket {
			s.count(badLine) // nothing after a wrong length can be read
			return
		}
		if cap(buf) < int(n) {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(in, buf); err != nil {
			s.count(truncated)
			return
		}
		s.take(buf, pid)
	}
}

// idle sets the deadline of the next packet, unless the listener has stopped.
func (s *streams) idle(c net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return net.ErrClosed
	}
	return c.SetReadDeadline(time.Now().Add(idleStream))
}

func (s *streams) take(b []byte, pid int32) {
	r := s.reader
	from := r.reg.sender(r.door.name, r.reg.origins.ByPID(pid))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.pid = time.Now().UnixNano(), pid
	r.datagram(b, from)
	r.door.datagrams.Inc()
	r.report()
}

func (s *streams) count(why reason) {
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	s.reader.metrics.n[why]++
	s.reader.report()
}

func (s *streams) close() error {
	removeOwn(s.path, s.inode)
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// peer returns the process at the other end of a connection; 0 when it is not known.
func peer(c syscall.Conn) int32 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	pid := int32(0)
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = cred.Pid
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
