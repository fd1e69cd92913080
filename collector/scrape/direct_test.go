package scrape

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawServer answers every request with what answer returns, as written; close ends the connection after it.
func rawServer(t *testing.T, answer func(n int) (text string, end bool)) (addr string, connections *atomic.Int32) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	connections = new(atomic.Int32)
	var requests atomic.Int32
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					text, end := answer(int(requests.Add(1)))
					if _, err := io.WriteString(c, text); err != nil || end {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String(), connections
}

func TestDirect(t *testing.T) {
	const plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, c := range []struct {
		name        string
		answer      func(n int) (string, bool)
		body        string // of each of three requests
		fails       string
		connections int32
	}{
		{"stays open", func(int) (string, bool) { return plain, false }, "ok", "", 1},
		{"chunks and a trailer", func(int) (string, bool) {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n", false
		}, "ok", "", 1},
		{"interim answers", func(int) (string, bool) { return "HTTP/1.1 103 Early Hints\r\n\r\n" + plain, false }, "ok", "", 1},
		{"closed without a word after each answer", func(int) (string, bool) { return plain, true }, "ok", "", 3},
		{"closed with a word", func(int) (string, bool) {
			return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", true
		}, "ok", "", 3},
		{"as long as it is open", func(int) (string, bool) { return "HTTP/1.0 200 OK\r\n\r\nok", true }, "ok", "", 3},
		{"more than it said", func(int) (string, bool) { return plain + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", false }, "ok", "", 3},
		{"less than it said", func(int) (string, bool) { return "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", true }, "", "unexpected EOF", 3},
		{"header without end", func(int) (string, bool) {
			return "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxAnswerHeader), false
		}, "", "longer than", 3},
		{"interim answers without end", func(int) (string, bool) { return strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50), false }, "", "interim", 3},
		{"no HTTP", func(int) (string, bool) { return "SSH-2.0-OpenSSH\r\n", true }, "", "malformed", 3},
		{"redirect", func(int) (string, bool) { return "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", false }, "", errElsewhere.Error(), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, connections := rawServer(t, c.answer)
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			d, buf := newDirect(time.Second, host, port), new(buffers)
			defer d.close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				resp, err := d.get(ctx, req, &buf.wire)
				if err == nil {
					err = buf.read(resp.Body, resp.ContentLength, 1000)
					d.done(resp, &buf.wire, err == nil)
				}
				cancel()
				if c.fails != "" {
					if err == nil || !strings.Contains(err.Error(), c.fails) {
						t.Fatalf("error %v, want one about %q", err, c.fails)
					}
					continue
				}
				if err != nil || string(buf.body) != c.body {
					t.Fatalf("got %q and error %v, want %q", buf.body, err, c.body)
				}
			}
			if n := connections.Load(); n != c.connections {
				t.Errorf("%d connections, want %d", n, c.connections)
			}
		})
	}
}

// TestDirectEndsWithContext: a target that hangs in the middle of its answer holds nothing up.
func TestDirectEndsWithContext(t *testing.T) {
	addr, _ := rawServer(t, func(int) (string, bool) { return "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", false })
	host, port, _ := net.SplitHostPort(addr)
	d, buf := newDirect(time.Second, host, port), new(buffers)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := d.get(ctx, req, &buf.wire)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := buf.read(resp.Body, resp.ContentLength, 1000); err == nil {
		t.Error("read an answer that never ended")
	}
	d.done(resp, &buf.wire, false)
	if d.conn != nil {
		t.Error("the connection of half an answer is kept")
	}
}

// TestRedirectIsFollowed: what the direct way does not do, the full client does.
func TestRedirectIsFollowed(t *testing.T) {
	body := "a 1\n"
	addr, _ := rawServer(t, func(n int) (string, bool) {
		if n <= 2 { // asked directly, then by the full client
			return "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", false
		}
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body), false
	})
	list, err := TargetConfig{Job: "x", Addresses: []string{addr}}.withDefaults(DefaultConfig()).targets("n1")
	if err != nil {
		t.Fatal(err)
	}
	defer list[0].client.CloseIdleConnections()
	buf := new(buffers)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := list[0].fetch(ctx, buf); err != nil || !bytes.Equal(buf.body, []byte(body)) || errors.Is(err, errElsewhere) {
		t.Errorf("got %q and error %v, want %q", buf.body, err, body)
	}
}
