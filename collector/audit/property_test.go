package audit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"pgregory.net/rapid"
)

type op struct {
	kind     string
	stage    int
	window   int // minutes before the start
	instance int
	n        uint64
	id       string
	epoch    int64
	failAt   int
	wait     time.Duration
}

func drawOp(t *rapid.T) op {
	return op{
		kind:     rapid.SampledFrom([]string{"add", "add", "add", "add", "set", "flush", "flush", "fail", "crash", "restart", "wait", "wait", "die young"}).Draw(t, "kind"),
		stage:    rapid.IntRange(0, 1).Draw(t, "stage"),
		window:   rapid.IntRange(-1, 1).Draw(t, "window"),
		instance: rapid.IntRange(0, 1).Draw(t, "instance"),
		n:        rapid.Uint64Range(0, 9).Draw(t, "n"),
		id:       rapid.StringN(1, 4, 8).Draw(t, "id"),
		epoch:    rapid.Int64Range(1, 2).Draw(t, "epoch"),
		failAt:   rapid.IntRange(1, 3).Draw(t, "failAt"),
		wait:     rapid.SampledFrom([]time.Duration{time.Millisecond, 10 * time.Second, 2 * time.Minute, 20 * time.Minute}).Draw(t, "wait"),
	}
}

// bounds of what the server must hold for a key: least is what a complete flush covered.
type bounds struct{ least, most, pending cell.Counts }

// TestAnyHistory checks that, whatever the order of counting, flushing, failing and crashing, the server
// holds what was counted, less at most what came after the last snapshot before a crash, and knows of every crash.
func TestAnyHistory(t *testing.T) {
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 80).Draw(rt, "ops")
		runs++
		dir := fmt.Sprintf("%s/%d", root, runs)
		var complaint string
		synctest.Test(t, func(t *testing.T) { complaint = play(t, dir, ops) })
		if complaint != "" {
			rt.Fatal(complaint)
		}
	})
}

func play(t *testing.T, dir string, ops []op) string {
	t.Helper()
	srv := newServer()
	c := newCounter(t, dir, srv, func(c *Config) { c.Idle = time.Minute })
	if err := c.open(); err != nil {
		return err.Error()
	}
	start := time.Now().Unix() / 60 * 60
	model := map[cell.Key]*bounds{}
	totals := map[serverKey]*bounds{} // of senders
	crashed := map[int64]bool{}       // epochs that ended without a word
	crashes := false
	at := func(k cell.Key) *bounds {
		if model[k] == nil {
			model[k] = &bounds{}
		}
		return model[k]
	}
	settle := func() {
		for _, b := range model {
			b.least.Add(b.pending)
			b.pending = cell.Counts{}
		}
		for _, b := range totals {
			b.least = b.pending
		}
	}
	reopen := func() error {
		// A process that begins in the same millisecond as the one before would be a fault of the clock.
		pass(time.Millisecond)
		c = newCounter(t, dir, srv, func(c *Config) { c.Idle = time.Minute })
		return c.open()
	}
	crash := func() {
		crashes = true
		crashed[c.auditor.Epoch] = true
		for _, b := range model {
			b.pending = cell.Counts{}
		}
		for _, b := range totals {
			b.pending = b.least
		}
	}
	for i, o := range ops {
		key := cell.Key{Pipeline: "p", Stage: fmt.Sprint("s", o.stage), Dir: cell.In, Window: start - int64(o.window)*60, Width: 60}
		if o.window < 0 {
			key.Window = 0
		}
		instance := fmt.Sprint("n1/c", o.instance)
		h := cell.Hash(o.id)
		counts := cell.Counts{N: o.n, FpSum: h, FpXor: h, Hashed: o.n}
		var err error
		switch o.kind {
		case "add":
			err = c.Add(Increment{Key: key, Instance: instance, Counts: counts})
			at(key).pending.Add(counts)
			at(key).most.Add(counts)
		case "set":
			key.Stage = "otlp" // senders of totals and of increments do not share keys
			k := serverKey{key, instance, o.epoch}
			b := totals[k]
			if b == nil {
				b = &bounds{}
				totals[k] = b
			}
			counts = cell.Counts{N: b.pending.N + o.n}
			_, err = c.Set(Increment{Key: key, Instance: instance, Counts: counts}, o.epoch)
			b.pending = counts
			b.most.N = max(b.most.N, counts.N)
		case "flush":
			if err = c.flush(t.Context(), false); err == nil {
				settle()
			}
		case "fail":
			srv.failAt = o.failAt
			if c.flush(t.Context(), false) == nil {
				settle()
			}
			srv.failAt = 0
		case "crash":
			crash()
			err = reopen()
		case "die young": // twice in a row, before the first snapshot
			crash()
			if err = reopen(); err == nil {
				crash()
				err = reopen()
			}
		case "restart":
			if err = c.close(t.Context()); err == nil {
				settle()
				err = reopen()
			}
		case "wait":
			pass(o.wait)
		}
		if err != nil {
			return fmt.Sprintf("op %d %+v: %v", i, o, err)
		}
	}
	if err := c.close(t.Context()); err != nil {
		return err.Error()
	}
	settle()

	for k, b := range model {
		got := srv.total(k)
		if got.N < b.least.N || got.N > b.most.N {
			return fmt.Sprintf("%+v: the server holds %d, counted %d, of which %d flushed", k, got.N, b.most.N, b.least.N)
		}
		if !crashes && (got.N != b.most.N || got.FpSum != b.most.FpSum || got.FpXor != b.most.FpXor || got.Hashed != b.most.Hashed) {
			return fmt.Sprintf("%+v: the server holds %+v, counted %+v", k, got, b.most)
		}
	}
	for k, b := range totals {
		if got := srv.cells[k].N; got < b.least.N || got > b.most.N {
			return fmt.Sprintf("%+v: the server holds %d, told %d, of which %d flushed", k, got, b.most.N, b.least.N)
		}
	}
	told := map[int64]bool{}
	for _, a := range srv.auditors {
		if a.Previous != 0 && a.PreviousOpen != crashed[a.Previous] {
			return fmt.Sprintf("epoch %d ended open %v, but was told %v", a.Previous, crashed[a.Previous], a.PreviousOpen)
		}
		told[a.Previous] = true
	}
	for e := range crashed {
		if !told[e] {
			return fmt.Sprintf("nobody told of the crash of epoch %d", e)
		}
	}
	if !srv.last().Closed {
		return "the end was not told"
	}
	return ""
}
