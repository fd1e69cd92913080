package statsd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 64 // datagrams per system call
	// A datagram of 64 KiB fits. The odd cache lines keep the buffers from falling on each other in the cache.
	bufSize = 64<<10 + 23*64
	oobSize = 64 // holds the credentials of a sender
	// A reader that keeps up would be woken for every datagram. While more than two come in, it lets them gather,
	// for as long as they fill an eighth of the socket's buffer.
	gatherMin, gatherMax = 200 * time.Microsecond, 10 * time.Millisecond
	gatherShare          = 8
	quiet                = 50 * time.Millisecond
	perDatagram          = 768         // bytes the kernel charges for a datagram besides its own, about
	drainAtMost          = time.Second // of what the kernel holds when the listener stops
)

// socket reads one UDP or Unix datagram socket in batches. It is kept away from the runtime's poller, which
// would be woken by every datagram, also by those that are left to gather.
type socket struct {
	fd     int
	bell   int      // an eventfd that ends the waiting
	addr   net.Addr // of UDP; nil for Unix
	path   string   // of Unix
	inode  uint64   // of the Unix socket's file
	reader *reader
	log    *slog.Logger

	msgs  []mmsghdr
	iovs  []unix.Iovec
	buf   []byte
	oob   []byte
	n     int
	err   error
	timer *time.Timer
	room  int // bytes that the kernel keeps for the socket
	load  int // bytes charged since the socket was last empty
	count int // datagrams since then

	drops uint32 // as the kernel said last
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// open opens all configured sockets.
func (l *Listener) open(ctx context.Context) error {
	if l.cfg.UDP != "" {
		addr := l.cfg.UDP
		for range l.cfg.Readers {
			s, err := l.openUDP(ctx, addr)
			if err != nil {
				return err
			}
			addr = s.addr.String() // port 0: the others share the port that was found
		}
	}
	if l.cfg.Unix != "" {
		if err := l.openUnix(ctx); err != nil {
			return err
		}
	}
	if l.cfg.UnixStream != "" {
		s, err := l.openStreams(ctx)
		if err != nil {
			return err
		}
		l.streams = s
	}
	return nil
}

func (l *Listener) openUDP(ctx context.Context, addr string) (*socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if l.cfg.Readers == 1 {
			return nil // a second process on the address is a mistake, and shall be told so
		}
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	c, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on statsd.udp %q: %w; choose another address or stop what holds it", addr, err)
	}
	defer func() { _ = c.Close() }()
	s := &socket{fd: -1, bell: -1, addr: c.LocalAddr(), reader: l.newReader("statsd_udp"), log: l.log}
	l.sockets = append(l.sockets, s)
	err = s.prepare(c, l.cfg.ReceiveBuffer)
	return s, err
}

func (l *Listener) openUnix(ctx context.Context) error {
	c, inode, err := bindUnix(ctx, l.cfg, "unixgram", l.cfg.Unix, func(a *net.UnixAddr) (*net.UnixConn, error) { return net.ListenUnixgram("unixgram", a) })
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	s := &socket{fd: -1, bell: -1, path: l.cfg.Unix, inode: inode, reader: l.newReader("statsd_unix"), log: l.log}
	l.sockets = append(l.sockets, s)
	if err := s.prepare(c, l.cfg.ReceiveBuffer); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("cannot ask for credentials on %q: %w", l.cfg.Unix, err)
	}
	return nil
}

// bindUnix makes a socket file, after removing one that nobody listens on.
func bindUnix[C interface{ Close() error }](ctx context.Context, cfg Config, network, path string, listen func(*net.UnixAddr) (C, error)) (c C, inode uint64, err error) {
	mode, err := cfg.mode()
	if err != nil {
		return c, 0, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return c, 0, fmt.Errorf("cannot listen on %q: there is a file that is no socket; remove it or choose another path", path)
		}
		probe, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, path)
		if err == nil {
			return c, 0, errors.Join(fmt.Errorf("cannot listen on %q: another process does; stop it or choose another path", path), probe.Close())
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return c, 0, fmt.Errorf("cannot listen on %q: cannot tell whether the socket is in use: %w; remove it if not", path, err)
		}
		if err := os.Remove(path); err != nil {
			return c, 0, fmt.Errorf("cannot remove the abandoned socket %q: %w", path, err)
		}
	}
	c, err = listen(&net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return c, 0, fmt.Errorf("cannot listen on %q: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return c, 0, errors.Join(fmt.Errorf("cannot set permissions of %q: %w", path, err), c.Close())
	}
	return c, inodeOf(path), nil
}

func inodeOf(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// removeOwn removes a socket file unless another process has put its own there.
func removeOwn(path string, inode uint64) {
	if inode != 0 && inodeOf(path) == inode {
		_ = os.Remove(path)
	}
}

// prepare takes the socket over from c, and sets the receive buffer and the structures of recvmmsg.
func (s *socket) prepare(c any, want int) error {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("cannot use the statsd socket: a %T has no file descriptor", c)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot use the statsd socket: %w", err)
	}
	var dup error
	err = raw.Control(func(fd uintptr) { s.fd, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dup); err != nil {
		return fmt.Errorf("cannot take over the statsd socket: %w", err)
	}
	if s.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("cannot make an eventfd for the statsd socket: %w", err)
	}
	// With the right to, past the limit of the system.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
		err = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, want)
	}
	got, opt := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err = errors.Join(err, opt); err != nil {
		return fmt.Errorf("cannot set the receive buffer of the statsd socket: %w", err)
	}
	got /= 2 // the kernel doubles it for its own book-keeping
	if got < want {
		s.log.Warn("the kernel gave a smaller receive buffer than asked: bursts may be lost; raise net.core.rmem_max",
			"door", s.reader.door.name, "asked", want, "given", got)
	}
	s.room = 2 * got
	s.msgs, s.iovs = make([]mmsghdr, batchSize), make([]unix.Iovec, batchSize)
	s.buf, s.oob = make([]byte, batchSize*bufSize), make([]byte, batchSize*oobSize)
	for i := range s.msgs {
		s.iovs[i].Base = &s.buf[i*bufSize]
		s.iovs[i].SetLen(bufSize)
		s.msgs[i].hdr.Iov = &s.iovs[i]
		s.msgs[i].hdr.SetIovlen(1)
	}
	return nil
}

// recv asks once for a batch; s.n and s.err tell what came.
func (s *socket) recv() {
	if s.addr == nil {
		for i := range s.msgs {
			s.msgs[i].hdr.Control = &s.oob[i*oobSize]
			s.msgs[i].hdr.SetControllen(oobSize)
		}
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		s.n, s.err = int(n), nil
		if errno != 0 {
			s.n, s.err = 0, errno
		}
		return
	}
}

// run reads until ctx ends, and then what the kernel still holds.
func (s *socket) run(ctx context.Context) error {
	last := time.Now()
	s.timer = time.NewTimer(0)
	defer s.timer.Stop()
	for ctx.Err() == nil {
		s.recv()
		switch {
		case s.err == nil:
		case errors.Is(s.err, syscall.EAGAIN):
			s.wait()
			continue
		case errors.Is(s.err, syscall.ENOMEM), errors.Is(s.err, syscall.ENOBUFS), errors.Is(s.err, syscall.ECONNREFUSED):
			s.rest(ctx, gatherMax) // it passes
			continue
		default:
			return fmt.Errorf("cannot read from the statsd socket: %w", s.err)
		}
		now := time.Now()
		s.take(now)
		if s.n == batchSize {
			continue // there is more
		}
		// Not so on a Unix socket: its few places fill at once, and its senders would have to wait.
		if since := now.Sub(last); s.addr != nil && s.count > 2 && since < quiet {
			fill := time.Duration(float64(since) * float64(s.room/gatherShare) / float64(s.load))
			s.rest(ctx, min(max(fill, gatherMin), gatherMax))
		}
		last, s.count, s.load = now, 0, 0
	}
	for end := time.Now().Add(drainAtMost); time.Now().Before(end); {
		if s.recv(); s.n == 0 {
			return nil
		}
		s.take(time.Now())
	}
	return nil
}

// wait returns when there is something to read or the bell rings.
func (s *socket) wait() {
	fds := [...]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}, {Fd: int32(s.bell), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], -1) // when it fails, the next read tells why
}

// rest returns after d or when ctx ends. A timer of the runtime costs less here than a system call that waits:
// during that the runtime's monitor would wake again and again to see whether it must take the processor back.
func (s *socket) rest(ctx context.Context, d time.Duration) {
	s.timer.Reset(d)
	select {
	case <-s.timer.C:
	case <-ctx.Done():
	}
}

// take hands the datagrams of the batch to the reader.
func (s *socket) take(now time.Time) {
	r := s.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now.UnixNano()
	var from *sender
	r.pid = 0
	if s.addr != nil {
		from = r.reg.sender(r.door.name, Tags{Node: r.reg.origins.Self().Node})
	}
	for i := range s.n {
		m := &s.msgs[i]
		if s.addr == nil {
			if pid := s.pidOf(m, i); from == nil || pid != r.pid {
				from, r.pid = r.reg.sender(r.door.name, r.reg.origins.ByPID(pid)), pid
			}
		}
		b := s.buf[i*bufSize : i*bufSize+int(m.n)]
		s.load += len(b) + perDatagram
		if m.hdr.Flags&unix.MSG_TRUNC != 0 {
			// The last line is cut; a cut number would be a wrong number.
			r.metrics.n[truncated]++
			b = b[:bytes.LastIndexByte(b, '\n')+1]
		}
		r.datagram(b, from)
	}
	s.count += s.n
	r.door.datagrams.Add(s.n)
	r.report()
}

// pidOf reads the process id out of the credentials that came with message i; 0 when there are none.
func (s *socket) pidOf(m *mmsghdr, i int) int32 {
	oob := s.oob[i*oobSize : i*oobSize+min(int(m.hdr.Controllen), oobSize)]
	if len(oob) < unix.SizeofCmsghdr+unix.SizeofUcred {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_CREDENTIALS {
		return 0
	}
	return int32(binary.NativeEndian.Uint32(oob[unix.SizeofCmsghdr:]))
}

// kernelDrops counts the datagrams that the kernel threw away because the socket was full.
func (s *socket) kernelDrops() {
	if s.addr == nil {
		return // a full Unix socket stops its sender instead
	}
	drops, ok := socketDrops(s.fd)
	if !ok {
		return
	}
	n := drops - s.drops // right also when the counter has gone round
	s.drops = drops
	if n == 0 {
		return
	}
	s.reader.door.kernel.Add(int(n))
	s.reader.mu.Lock()
	seen := s.reader.seen
	s.reader.mu.Unlock()
	if seen && s.reader.audit != nil {
		s.reader.audit.Drops(uint64(n)) // any of them may have been an audit line
	}
	s.log.Warn("the kernel dropped datagrams: the receive buffer was full", "door", s.reader.door.name, "datagrams", n)
}

// wake ends the waiting for good.
func (s *socket) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(s.bell, one[:])
}

func (s *socket) close() error {
	if s.addr == nil {
		removeOwn(s.path, s.inode)
	}
	var err error
	for _, fd := range []*int{&s.fd, &s.bell} {
		if *fd >= 0 {
			err = errors.Join(err, unix.Close(*fd))
			*fd = -1
		}
	}
	return err
}
