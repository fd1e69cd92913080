package spool

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/signal"
)

const childDir = "WEIR_SPOOL_TEST_CHILD_DIR"

func killConfig() Config {
	c := DefaultConfig()
	c.SegmentBytes, c.MaxBytes, c.AckInterval = 64<<10, 64<<20, 20*time.Millisecond
	return c
}

// bodyOf is the body of the n-th append of a writer in a round: found again without having been told.
func bodyOf(tag string) []byte {
	return bytes.Repeat([]byte(tag+"|"), 1+len(tag)%7*40)
}

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv("WEIR_SPOOL_TEST_ROUND"))
		return
	}
	os.Exit(m.Run())
}

// child appends from eight goroutines, reads and acknowledges, and tells each promise on stdout.
func child(dir, round string) {
	s, err := Open(dir, killConfig(), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, "error", err)
		return
	}
	go func() { _ = s.Run(context.Background()) }()
	var out sync.Mutex
	say := func(format string, a ...any) {
		out.Lock()
		defer out.Unlock()
		_, _ = fmt.Fprintf(os.Stdout, format+"\n", a...)
	}
	go func() {
		for {
			r, err := s.Next(context.Background())
			if err != nil {
				say("error %v", err)
				return
			}
			tag, _, _ := strings.Cut(string(r.Body), "|")
			if !bytes.Equal(r.Body, bodyOf(tag)) {
				say("error record %d has a wrong body", r.Seq)
			}
			say("got %d %s", r.Seq, tag)
			if rand.IntN(3) > 0 { // settle some at once, some in groups
				s.Ack(r.Seq)
			}
		}
	}()
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				tag := fmt.Sprintf("%s-%d-%d", round, w, i)
				seq, err := s.Append(signal.Kind(w%signals+1), Zstd, 1, bodyOf(tag))
				if err != nil {
					say("error %v", err)
					return
				}
				say("ack %d %s", seq, tag)
			}
		}()
	}
	select {}
}

// TestKill kills a writing and reading process again and again; every record it acknowledged is delivered, by it or by
// the next, under the number it was acknowledged with.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked, got := map[string]string{}, map[string]string{}
	take := func(line string) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "ack":
			acked[f[1]] = f[2]
		case len(f) == 3 && f[0] == "got":
			if old, ok := got[f[1]]; ok && old != f[2] {
				t.Errorf("number %s was delivered as %s and as %s", f[1], old, f[2])
			}
			got[f[1]] = f[2]
		case strings.HasPrefix(line, "error"):
			t.Errorf("child: %s", line)
		}
	}
	const rounds = 12
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("WEIR_SPOOL_TEST_ROUND=%d", round))
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(50+rand.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewReader(pipe)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // a line cut by the kill is no promise
			}
			take(strings.TrimSpace(line))
		}
		_ = cmd.Wait() // killed
	}
	s, err := Open(dir, killConfig(), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		r, err := s.Next(ctx)
		if err != nil {
			break
		}
		tag, _, _ := strings.Cut(string(r.Body), "|")
		take(fmt.Sprintf("got %d %s", r.Seq, tag))
		s.Ack(r.Seq)
	}
	if len(acked) < 100 {
		t.Fatalf("only %d appends were acknowledged in %d rounds", len(acked), rounds)
	}
	for seq, tag := range acked {
		if got[seq] != tag {
			t.Errorf("record %s (%s) was acknowledged and is delivered as %q", seq, tag, got[seq])
		}
	}
	for seq := uint64(1); seq < s.end.seq; seq++ {
		if _, ok := got[fmt.Sprint(seq)]; !ok {
			t.Errorf("number %d is missing", seq)
		}
	}
	for k := signal.Samples; k <= signal.Cells; k++ {
		if c := s.Counts(k); c.Corrupt != 0 || c.Pending != 0 || c.Appended != c.Delivered {
			t.Errorf("%s: %+v", k, c)
		}
	}
	t.Logf("%d acknowledged, %d delivered, %d kills", len(acked), len(got), rounds)
}
