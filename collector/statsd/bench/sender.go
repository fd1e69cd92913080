//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	packet = 1432 // bytes of a packed datagram
	burst  = 64   // datagrams per system call
)

// lines makes one line per series: half counters, a quarter gauges, a quarter timings, each with two tags.
func lines(n int) []string {
	kinds := []string{"1|c", "3.25|g", "1|c", "12.5|ms"}
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("app.requests.metric%d:%s|#env:production,endpoint:%d\n", i%100, kinds[i%100%4], i/100)
	}
	return all
}

type datagram struct {
	b       []byte
	metrics int
}

func pack(s scenario) []datagram {
	var all []datagram
	var d datagram
	for _, l := range lines(s.Series) {
		if d.metrics > 0 && (!s.Packed || len(d.b)+len(l) > packet) {
			all = append(all, d)
			d = datagram{}
		}
		d.b = append(d.b, l...)
		d.metrics++
	}
	if s.Packed {
		return all // without the half-full last one, so that all hold about the same
	}
	return append(all, d)
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func connect(addr string, local bool) (int, error) {
	family, to := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: addr})
	if !local {
		a, err := netip.ParseAddrPort(addr)
		if err != nil {
			return 0, err
		}
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.Connect(fd, to)
}

// sendTo sends for the given time at the scenario's rate, and tells how much.
func sendTo(addr string, s scenario, d time.Duration, out io.Writer) error {
	fd, err := connect(addr, s.Unix)
	if err != nil {
		return err
	}
	all := pack(s)
	iovs := make([]unix.Iovec, len(all))
	msgs := make([]mmsghdr, len(all))
	for i := range all {
		iovs[i].Base = &all[i].b[0]
		iovs[i].SetLen(len(all[i].b))
		msgs[i].hdr.Iov = &iovs[i]
		msgs[i].hdr.SetIovlen(1)
	}
	var r struct {
		Sent, Datagrams int
		Seconds         float64
	}
	begin := time.Now()
	for at := 0; ; {
		now := time.Since(begin)
		if now >= d {
			break
		}
		if s.Rate > 0 && float64(r.Sent) > now.Seconds()*float64(s.Rate) {
			time.Sleep(500 * time.Microsecond)
			continue
		}
		n := min(burst, len(all)-at)
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[at])), uintptr(n), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("cannot send: %w", errno)
		}
		for i := range int(sent) {
			r.Sent += all[at+i].metrics
		}
		r.Datagrams += int(sent)
		at = (at + int(sent)) % len(all)
	}
	r.Seconds = time.Since(begin).Seconds()
	return json.NewEncoder(out).Encode(r)
}
