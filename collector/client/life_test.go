package client

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var word = regexp.MustCompile(`^weir\.audit\.run:(\d+)\|g\|#p:orders,st:enrich,run:(\w{16}),ev:(\d+)(,raise:1|,end:1)?,svc:enrich`)

// heard reads what lies in the socket: what was counted, and the words of the client in order.
func heard(t *testing.T, l *net.UnixConn) (in uint64, words [][]string) {
	t.Helper()
	_, _, _, lines := received(t, l)
	for _, s := range lines {
		if m := word.FindStringSubmatch(s); m != nil {
			words = append(words, m[1:])
		}
		var n uint64
		if k, _ := fmt.Sscanf(s, "weir.audit.in:%d|", &n); k == 1 {
			in += n
		}
	}
	return in, words
}

// A client says that it lives when it begins and with each flush, how much it may hold before it holds it, and at last that it
// has told everything. One that only calls Flush promises nothing.
func TestClientSaysThatItLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l := listen(t, path)
	c, err := New(Config{Addr: "unix://" + path, Pipeline: "orders", Stage: "enrich", Flush: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	count := func(n int) {
		for i := range n {
			c.In("orders", "enrich", Record{ID: strconv.Itoa(i), Time: time.Unix(1_732_334_465, 0)})
		}
	}
	count(100)
	c.Flush(t.Context())
	if in, words := heard(t, l); in != 100 || len(words) != 0 {
		t.Errorf("without Run: %d counted, words %v", in, words)
	}
	stop := c.Start(t.Context())
	if _, words := heard(t, l); len(words) == 0 || words[0][0] != "64" || words[0][2] != "3600000" || words[0][3] != "" {
		t.Errorf("at the beginning: %v", words)
	}
	count(63)
	if _, words := heard(t, l); len(words) != 0 {
		t.Errorf("below what it said: %v", words)
	}
	count(1000)
	_, words := heard(t, l)
	most := 64
	for _, w := range words {
		n, _ := strconv.Atoi(w[0])
		if w[3] != ",raise:1" || n <= most {
			t.Errorf("raised to %v after %d", w, most)
		}
		most = n
	}
	if most < 1063 || len(words) > 6 {
		t.Errorf("1,063 records held, said %v", words)
	}
	stop()
	in, words := heard(t, l)
	if in != 1063 || len(words) != 2 || words[0][3] != "" || words[1][3] != ",end:1" {
		t.Errorf("at the end: %d counted, words %v", in, words)
	}
	c.Start(t.Context())()
	_, again := heard(t, l)
	if len(again) < 2 || again[0][1] == words[0][1] {
		t.Errorf("another run must have a name of its own: %v after %v", again, words)
	}
}

// With nobody to take its counts a client does not say that it told everything.
func TestClientThatToldNotEverythingSaysNoEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	c, err := New(Config{Addr: "unix://" + path, Pipeline: "orders", Stage: "enrich", Flush: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	stop := c.Start(t.Context())
	c.In("orders", "enrich", Record{Time: time.Unix(1_732_334_465, 0)})
	c.Flush(t.Context())
	l := listen(t, path)
	c.life.conn, err = net.Dial("unixgram", l.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.addr = path + ".nobody"
	stop()
	if c.life.in != 1 {
		t.Errorf("%d records are not told, want 1", c.life.in)
	}
	_, words := heard(t, l)
	for _, w := range words {
		if w[3] == ",end:1" {
			t.Errorf("said %v, and a record is not told", w)
		}
	}
}

const lifeVar = "WEIR_TEST_CLIENT_SOCKET"

// TestCountingClient is the body of the process that TestKilledClient kills: it prints how many records it has counted.
func TestCountingClient(t *testing.T) {
	path := os.Getenv(lifeVar)
	if path == "" {
		t.Skip("started by TestKilledClient only")
	}
	c, err := New(Config{Addr: "unix://" + path, Pipeline: "orders", Stage: "enrich", Flush: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Start(t.Context())()
	for n := 1; ; n++ {
		for range n % 300 { // in bursts
			c.In("orders", "enrich", Record{Time: time.Unix(1_732_334_465, 0)})
		}
		_, _ = fmt.Fprintf(os.Stdout, "COUNTED %d\n", n%300)
		<-time.After(time.Millisecond)
	}
}

// A client that is killed at any moment never held more than it had said.
func TestKilledClient(t *testing.T) {
	for i := range 5 {
		path := filepath.Join(t.TempDir(), "s.sock")
		l := listen(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCountingClient$")
		cmd.Env = append(os.Environ(), lifeVar+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var told uint64
		most, ended := 0, false
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 64<<10)
			for {
				k, err := l.Read(b)
				if err != nil {
					return
				}
				for s := range strings.SplitSeq(string(b[:k]), "\n") {
					if m := word.FindStringSubmatch(s); m != nil {
						most, _ = strconv.Atoi(m[1])
						ended = ended || m[4] == ",end:1"
					}
					var n uint64
					if k, _ := fmt.Sscanf(s, "weir.audit.in:%d|", &n); k == 1 {
						told += n
					}
				}
			}
		}()
		time.AfterFunc(time.Duration(180+37*i)*time.Millisecond, cancel)
		counted := uint64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n uint64
			if k, _ := fmt.Sscanf(lines.Text(), "COUNTED %d", &n); k == 1 {
				counted += n
			}
		}
		_ = cmd.Wait()
		cancel()
		if err := l.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		<-done
		if counted == 0 || ended || counted > told+uint64(most) {
			t.Errorf("counted %d, told %d, and may hold %d at most; said an end: %v", counted, told, most, ended)
		}
	}
}
