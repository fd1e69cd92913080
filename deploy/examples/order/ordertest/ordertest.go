// Package ordertest runs an example for a while and looks at the counts it sent.
package ordertest

import (
	"context"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var count = regexp.MustCompile(`^weir\.audit\.(\w+):(\d+)\|c\|#p:orders,st:(\w+)`)

// Run starts the programs with a broker's address, waits until the stage has taken in 60 orders, and checks that it accounts for
// each of them.
func Run(t *testing.T, broker string, source, consume func(ctx context.Context, broker string) error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEIR_STATSD", "unix://"+path)
	var mu sync.Mutex
	sums, latencies, stamps := map[string]int{}, 0, 0
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			for line := range strings.SplitSeq(string(b[:n]), "\n") {
				if m := count.FindStringSubmatch(line); m != nil {
					k, _ := strconv.Atoi(m[2])
					sums[m[3]+" "+m[1]] += k
					if strings.Contains(line, ",fs:") && strings.Contains(line, ",ids:") && strings.Contains(line, ",ew:") {
						stamps++
					}
				}
				if strings.HasPrefix(line, "weir.audit.latency:") {
					latencies++
				}
			}
			mu.Unlock()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context, string) error{source, consume} {
		wg.Go(func() {
			if err := run(ctx, broker); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !t.Failed(); <-time.After(20 * time.Millisecond) {
		mu.Lock()
		enough := sums["enrich in"] >= 60
		mu.Unlock()
		if enough {
			break
		}
	}
	cancel()
	wg.Wait()
	<-time.After(50 * time.Millisecond) // for the last datagram
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	in, out := sums["enrich in"], sums["enrich out"]+sums["enrich filtered"]+sums["enrich dlq"]+sums["enrich dropped"]
	// One record may be under way when everything stops.
	if in < 60 || in-out > 1 || out > in || sums["enrich filtered"] == 0 || sums["enrich dlq"] == 0 || sums["producer out"] < in-1 || latencies == 0 || stamps == 0 {
		t.Errorf("counted %v, %d latencies, %d whole counts", sums, latencies, stamps)
	}
}
