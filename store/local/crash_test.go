package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// The crash test runs this test binary again as a writer, kills it, and looks for everything it was told is stored.
const (
	crashDirEnv   = "WEIR_CRASH_DIR"
	crashStartEnv = "WEIR_CRASH_START"
	crashWriters  = 4
	crashPerBatch = 50
)

func crashConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.MinFreeBytes = 1 << 20
	return cfg
}

// crashBatch is batch n of a writer: every second sample is out of order, so that the head cuts chunks of them, and its value tells what it is.
func crashBatch(writer int, n int64, origin int64) *store.MetricBatch {
	b := &store.MetricBatch{Symbols: []string{model.MetricNameLabel, "crash", "writer", strconv.Itoa(writer), "series"}}
	for i := range crashPerBatch {
		t := origin + n*10
		if (n+int64(i))%2 == 0 {
			t -= 20_001 // behind what the series has by now
		}
		b.Symbols = append(b.Symbols, strconv.Itoa(i))
		b.Series = append(b.Series, store.BatchSeries{
			LabelRefs: []uint32{0, 1, 4, uint32(len(b.Symbols) - 1), 2, 3},
			Samples:   []store.Sample{{T: t, V: float64(n)}},
		})
	}
	return b
}

// TestCrashWriter is the child process: it appends until it is killed and writes down what was acknowledged.
func TestCrashWriter(t *testing.T) {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		t.Skip("runs only as the child of TestKill9")
	}
	start, err := strconv.ParseInt(os.Getenv(crashStartEnv), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := strconv.ParseInt(readFile(t, filepath.Join(dir, "origin")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.Context(), crashConfig(dir), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	acks, err := os.OpenFile(filepath.Join(dir, "acks"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := start; ; n++ {
				res, err := e.Metrics().Append(context.Background(), "a", crashBatch(w, n, origin))
				if err != nil || res.Samples != crashPerBatch {
					t.Errorf("append: %+v %v", res, err)
					return
				}
				c := cell.Cell{Key: cell.Key{Pipeline: "p", Stage: strconv.Itoa(w), Dir: cell.Out, Window: origin/1000 + n, Width: 1}, Seq: 1, Counts: cell.Counts{N: uint64(n)}}
				if err := e.Ledger().PutCells(context.Background(), "a", cell.Batch{Cells: []cell.Cell{c}}); err != nil {
					t.Errorf("cells: %v", err)
					return
				}
				// One write call: a line is there wholly or not at all.
				if _, err := fmt.Fprintf(acks, "%d %d\n", w, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func TestKill9(t *testing.T) {
	dir := t.TempDir()
	origin := time.Now().Add(-10 * time.Minute).UnixMilli()
	if err := os.WriteFile(filepath.Join(dir, "origin"), []byte(strconv.FormatInt(origin, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	const kills = 3
	for k := range kills {
		// Numbers begin far behind those of the run before: what was cut off there must not come back as a repetition.
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashWriter$", "-test.v")
		child.Env = append(os.Environ(), crashDirEnv+"="+dir, crashStartEnv+"="+strconv.Itoa(k*10_000))
		var out strings.Builder
		child.Stdout, child.Stderr = &out, &out
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(readFile(t, filepath.Join(dir, "acks")))
		deadline := time.After(20 * time.Second)
		tick := time.NewTicker(5 * time.Millisecond)
		for len(readFile(t, filepath.Join(dir, "acks"))) == before {
			select {
			case <-tick.C:
			case <-deadline:
				_ = child.Process.Kill()
				_ = child.Wait()
				t.Fatalf("the writer acknowledged nothing:\n%s", out.String())
			}
		}
		tick.Stop()
		<-time.After(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		if strings.Contains(out.String(), "FAIL") {
			t.Fatalf("writer:\n%s", out.String())
		}
		checkAcks(t, dir, origin)
	}
}

// checkAcks opens the data and looks for everything acknowledged, exactly once.
func checkAcks(t *testing.T, dir string, origin int64) {
	t.Helper()
	e, err := Open(t.Context(), crashConfig(dir), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	q, err := e.Metrics().Querier("a", math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	stored := map[[3]int64]int{} // writer, series, number
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "crash"))
	for set.Next() {
		s := set.At()
		w, _ := strconv.ParseInt(s.Labels().Get("writer"), 10, 64)
		i, _ := strconv.ParseInt(s.Labels().Get("series"), 10, 64)
		it := s.Iterator(nil)
		for it.Next() != 0 {
			at, v := it.At()
			n := int64(v)
			if want := crashBatch(int(w), n, origin).Series[i].Samples[0].T; at != want {
				t.Fatalf("writer %d series %d number %d at %d, want %d", w, i, n, at, want)
			}
			stored[[3]int64{w, i, n}]++
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	cells, err := e.Ledger().Cells(t.Context(), "a", store.CellQuery{})
	if err != nil {
		t.Fatal(err)
	}
	ledger := map[[2]int64]bool{}
	for _, c := range cells {
		w, _ := strconv.ParseInt(c.Stage, 10, 64)
		ledger[[2]int64{w, int64(c.N)}] = true
	}
	lines := bufio.NewScanner(strings.NewReader(readFile(t, filepath.Join(dir, "acks"))))
	acked := 0
	for lines.Scan() {
		var w, n int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &n); err != nil {
			t.Fatal(err)
		}
		acked++
		for i := range int64(crashPerBatch) {
			if got := stored[[3]int64{w, i, n}]; got != 1 {
				t.Errorf("writer %d series %d number %d: acknowledged once, stored %d times", w, i, n, got)
			}
		}
		if !ledger[[2]int64{w, n}] {
			t.Errorf("cell of writer %d number %d: acknowledged, not stored", w, n)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d batches acknowledged, %d samples stored", acked, len(stored))
}
