// Command bench measures what needs the whole product, how fresh an open page is, and records what the
// benchmarks print in docs/benchmarks.md.
//
// For freshness it starts the weir binary with data in a temporary folder, sends it statsd datagrams that carry the time at
// which they were sent, and reads the values back from a live subscription, as a page does.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/gorilla/websocket"
)

type freshnessCmd struct {
	Weir     string        `default:"bin/weir"`
	Duration time.Duration `default:"60s" help:"How long to measure."`
	Every    time.Duration `default:"97ms" help:"Between datagrams; not a divisor of a second, so that all phases are met."`
}

func main() {
	var cli struct {
		Freshness freshnessCmd `cmd:"" help:"P12: statsd datagram received to value on an open page."`
		Record    recordCmd    `cmd:"" help:"Run a benchmark and put its tables into docs/benchmarks.md."`
		LagTruth  lagTruthCmd  `cmd:"" name:"lagtruth" help:"T3: error of the stated time lag against the truth."`
		Drain     drainCmd     `cmd:"" help:"T4: drain forecasts against the truth."`
	}
	k := kong.Parse(&cli)
	k.BindTo(context.Background(), (*context.Context)(nil))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const config = `data_dir: %q
http:
  listen: %s
collector:
  statsd:
    udp: %s
    interval: 1s
  otlp:
    grpc: ""
    http: ""
`

// Run prints the percentiles of the delay as a table.
func (c *freshnessCmd) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	http1, err := freeTCP()
	if err != nil {
		return err
	}
	udp, err := freeTCP() // a free TCP port is very likely free as a UDP port too
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "weir.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, filepath.Join(dir, "data"), http1, udp), 0o644); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, c.Weir, "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended; then there is nothing to stop
		_ = cmd.Wait()
	}()
	if err := ready(ctx, "http://"+http1+"/-/ready"); err != nil {
		b, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w: %s", err, b)
	}
	delays, frames, err := c.measure(ctx, http1, udp)
	if err != nil {
		return err
	}
	slices.Sort(delays)
	at := func(p float64) float64 { return delays[min(len(delays)-1, int(p*float64(len(delays))))] }
	fmt.Printf("| datagrams | frames | p50 s | p90 s | p99 s | max s |\n|---|---|---|---|---|---|\n")
	fmt.Printf("| %d | %d | %.2f | %.2f | %.2f | %.2f |\n", len(delays), frames, at(.5), at(.9), at(.99), delays[len(delays)-1])
	return nil
}

func freeTCP() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func ready(ctx context.Context, url string) error {
	for range 200 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Timeout: time.Second}).Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("weir does not become ready")
}

// measure sends gauges whose value is the time of sending in seconds since the start, and notes for each
// datagram when the page first got a value that is at least as new.
func (c *freshnessCmd) measure(ctx context.Context, addr, udp string) (delays []float64, frames int, err error) {
	conn, err := net.Dial("udp", udp) //nolint:noctx // UDP does not wait
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/api/v1/live", nil)
	if err != nil {
		return nil, 0, err
	}
	resp.Body.Close()
	defer ws.Close()
	begin := time.Now()
	send := func() (float64, error) {
		now := time.Since(begin).Seconds()
		_, err := fmt.Fprintf(conn, "bench.sent:%.4f|g", now)
		return now, err
	}
	if _, err := send(); err != nil {
		return nil, 0, err
	}
	time.Sleep(2500 * time.Millisecond)
	if err := ws.WriteJSON(map[string]any{"op": "sub", "id": 1, "topic": "query", "query": "bench_sent", "step": 1000, "window": 60000}); err != nil {
		return nil, 0, err
	}
	type value struct{ v, at float64 }
	values := make(chan value, 1000)
	go func() {
		defer close(values)
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if kind == websocket.TextMessage {
				var m struct{ Kind, Error string }
				if json.Unmarshal(b, &m) == nil && m.Kind == "error" {
					fmt.Fprintln(os.Stderr, m.Error)
				}
				continue
			}
			if v, ok := newest(b); ok {
				values <- value{v, time.Since(begin).Seconds()}
			}
		}
	}()
	var waiting []float64
	t := time.NewTicker(c.Every)
	defer t.Stop()
	stop := time.After(c.Duration)
	end := time.After(c.Duration + 10*time.Second)
	for {
		select {
		case <-t.C:
			now, err := send()
			if err != nil {
				return nil, 0, err
			}
			waiting = append(waiting, now)
		case <-stop:
			t.Stop()
		case v, ok := <-values:
			if !ok {
				return nil, 0, errors.New("the live connection ended")
			}
			frames++
			n := 0
			for n < len(waiting) && waiting[n] <= v.v+1e-4 {
				delays = append(delays, v.at-waiting[n])
				n++
			}
			waiting = waiting[n:]
			if len(waiting) == 0 && v.at > c.Duration.Seconds() && len(delays) > 0 {
				return delays, frames, nil
			}
		case <-end:
			return nil, 0, fmt.Errorf("%d of %d datagrams never reached the page", len(waiting), len(waiting)+len(delays))
		}
	}
}

// newest returns the largest value of a frame of docs/wire.md.
func newest(b []byte) (float64, bool) {
	if len(b) < 16 {
		return 0, false
	}
	at := 16 + int(binary.LittleEndian.Uint32(b[12:]))
	n := int(binary.LittleEndian.Uint32(b[at:]))
	at = (at + 4 + 4*n + 7) / 8 * 8
	best, ok := 0.0, false
	for i := range n {
		v := math.Float64frombits(binary.LittleEndian.Uint64(b[at+8*(n+i):]))
		if !ok || v > best {
			best, ok = v, true
		}
	}
	return best, ok
}
