package otlp

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/collector/audit"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

// ledger keeps of each cell what the store would: the newest snapshot.
type ledger struct {
	mu    sync.Mutex
	cells map[cellID]cell.Cell
	// auditors are the records of all snapshots.
	auditors []cell.Auditor
}

type cellID struct {
	cell.Key
	instance string
	epoch    int64
}

func (l *ledger) Append(_ context.Context, _ signal.Kind, _ int, body []byte) error {
	var b cell.Batch
	if err := json.Unmarshal(body, &b); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.auditors = append(l.auditors, b.Auditor)
	for _, c := range b.Cells {
		id := cellID{c.Key, c.Instance, c.Epoch}
		if old, ok := l.cells[id]; !ok || c.Seq > old.Seq {
			l.cells[id] = c
		}
	}
	return nil
}

// total sums the records of one direction that lie in [from, from+width), and names who counted.
func (l *ledger) total(d cell.Dir, from, width int64) (n uint64, instances map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	instances = map[string]bool{}
	for _, c := range l.cells {
		if c.Dir == d && c.Window >= from && c.Window < from+width {
			n += c.N
			if c.N > 0 {
				instances[c.Instance] = true
			}
		}
	}
	return n, instances
}

// unflushed lists the bounds of senders that may not have told everything: the largest by reason of each window.
func (l *ledger) unflushed() map[int64]map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int64]map[string]uint64{}
	for _, c := range l.cells {
		if c.Dir == cell.Unflushed && c.N > 0 {
			if out[c.Window] == nil {
				out[c.Window] = map[string]uint64{}
			}
			out[c.Window][c.Reason] = max(out[c.Window][c.Reason], c.N)
		}
	}
	return out
}

// counting is a sink in front of a real counter; to be used inside a synctest bubble.
type counting struct {
	*sink
	ledger *ledger
	set    *metrics.Set
	dir    string
	stop   func()
}

// counterSink shows a counter to a sink, as the collector does.
type counterSink struct{ *audit.Counter }

func (c counterSink) Add(inc Increment) error { return c.Counter.Add(audit.Increment(inc)) }

func (c counterSink) Set(inc Increment, epoch int64) (uint64, error) {
	return c.Counter.Set(audit.Increment(inc), epoch)
}

func newCounting(t *testing.T, log *slog.Logger) *counting {
	t.Helper()
	c := &counting{ledger: &ledger{cells: map[cellID]cell.Cell{}}, dir: t.TempDir()}
	c.begin(t, log)
	return c
}

func (c *counting) begin(t *testing.T, log *slog.Logger) {
	t.Helper()
	c.set = metrics.NewSet()
	counter := audit.New(audit.DefaultConfig(), c.dir, "n1", c.ledger, slog.New(slog.DiscardHandler), c.set)
	c.sink = newSink(DefaultConfig(), "n1", &fakeOutput{}, counterSink{counter}, nil, c.set, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- counter.Run(ctx) }()
	c.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// wait lets time pass.
func wait(d time.Duration) { <-time.After(d) }

// reading is one point of weir.audit.messages.
type reading struct {
	dir    string
	window int64
	width  int64 // 0: not said
	n      int64
}

// export sends points of an instance that began at start, Unix ms.
func (c *counting) export(t *testing.T, instance string, start int64, delta bool, points ...reading) {
	t.Helper()
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.instance.id", instance)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("weir.audit.messages")
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	if delta {
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	for _, r := range points {
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(r.n)
		p.SetStartTimestamp(pcommon.Timestamp(start) * 1e6)
		if r.dir == "overflow" {
			p.Attributes().PutBool("otel.metric.overflow", true)
			continue
		}
		p.Attributes().PutStr("weir.dir", r.dir)
		p.Attributes().PutStr("weir.pipeline", "orders")
		p.Attributes().PutStr("weir.stage", "enrich")
		p.Attributes().PutInt("weir.window", r.window)
		if r.width != 0 {
			p.Attributes().PutInt("weir.width", r.width)
		}
	}
	if err := c.metrics(t.Context(), md); err != nil {
		t.Error(err)
	}
}

// Windows shorter than the collector's, or named by any second inside them, add up: also when an export comes in
// parts, when one holds only what changed, and when the collector begins again in between.
func TestShortWindowsAddUp(t *testing.T) {
	for _, width := range []int64{0, 10} {
		for _, off := range []int64{0, 3} {
			synctest.Test(t, func(t *testing.T) {
				c := newCounting(t, slog.New(slog.DiscardHandler))
				began := time.Now().UnixMilli() - 1000
				w := time.Now().Unix() / 60 * 60
				for i := range int64(6) {
					c.export(t, "pod-7", began, false, reading{"in", w + 10*i + off, width, 40}, reading{"out", w + 10*i + off, width, 40})
				}
				wait(20 * time.Second)
				c.stop()
				c.begin(t, slog.New(slog.DiscardHandler))
				c.export(t, "pod-7", began, false, reading{"in", w + 10 + off, width, 100})
				wait(20 * time.Second)
				if n, who := c.ledger.total(cell.In, w, 60); n != 5*40+100 || len(who) != 1 {
					t.Errorf("width %d, %d s after the start: %d records of %v, want 300 of one", width, off, n, who)
				}
				for i := range int64(6) {
					c.export(t, "pod-7", began, false, reading{"in", w + 10*i + off, width, 100})
				}
				c.export(t, "pod-7", began, true, reading{"in", w + 30 + off, width, 7})
				wait(20 * time.Second)
				if n, _ := c.ledger.total(cell.In, w, 60); n != 607 {
					t.Errorf("width %d, %d s after the start: %d records, want 607", width, off, n)
				}
				if n, _ := c.ledger.total(cell.Out, w, 60); n != 240 {
					t.Errorf("width %d, %d s after the start: %d put out, want 240", width, off, n)
				}
				if width == 10 {
					if n, _ := c.ledger.total(cell.In, w+10, 10); n != 100 {
						t.Errorf("the second window of 10 s holds %d records, want 100", n)
					}
				}
				c.stop()
			})
		}
	}
}
