package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

type fakeEngine struct {
	store.Engine
	kept *fakeLedger
}

func (e fakeEngine) Ledger() store.Ledger { return e.kept }

type fakeLedger struct {
	store.Ledger
	fail error
	put  []store.Verdict
}

func (f *fakeLedger) PutVerdicts(_ context.Context, _ store.Tenant, vs []store.Verdict) error {
	if f.fail == nil {
		f.put = append(f.put, vs...)
	}
	return f.fail
}

// What is said reaches the store once, also when that was away; what came late revises it and only adds to totals.
func TestVerdictsAreWrittenOnce(t *testing.T) {
	kept := &fakeLedger{fail: errors.New("away")}
	l := New(fakeEngine{kept: kept}, store.DefaultTenant)
	k := store.VerdictKey{Pipeline: "p", Kind: store.EdgeBalance, From: "s", To: "s", Window: 60_000, Width: 60}
	v := store.Verdict{VerdictKey: k, State: flow.Loss, Settled: true, SettledAt: 60_100_000, Up: 100, Down: 93, Lost: 7}
	l.Say(v, 60_100_000)
	if err := l.Write(context.Background()); !errors.Is(err, kept.fail) {
		t.Fatal(err)
	}
	kept.fail = nil
	for range 2 {
		l.Say(v, 60_101_000)
		if err := l.Write(context.Background()); err != nil || len(kept.put) != 1 {
			t.Fatalf("%d verdicts written, %v", len(kept.put), err)
		}
	}
	late := v
	late.Down, late.Lost, late.SettledAt = 95, 5, 60_900_000
	l.Revise(v, true, late)
	l.Revise(late, true, late)
	if err := l.Write(context.Background()); err != nil || len(kept.put) != 2 {
		t.Fatalf("%d verdicts written, %v", len(kept.put), err)
	}
	if w := kept.put[1]; w.SettledAt != v.SettledAt || len(w.Reasons) != 1 || w.Lost != 5 {
		t.Errorf("%+v", w)
	}
	b := l.Get(k)
	if lost, _ := b.Totals(); lost != 7 || l.Counted()["p"][flow.Loss] != 1 {
		t.Errorf("in total %g lost in %g windows", lost, l.Counted()["p"][flow.Loss])
	}
	if s, n := b.Hour(0); n != 1 || s.Lost != 5 || s.Down != 95 {
		t.Errorf("%+v of %d windows", s, n)
	}
	// A window that is not followed any more still tells of its loss; after a day nothing is known.
	l.Prune(61_500_000, 3600)
	if _, ok := l.Verdict(k); ok {
		t.Error("still followed")
	}
	if lost, _ := b.Lost24h(61_500_000); lost != 5 || l.SettledTo("p") != 60_000 {
		t.Errorf("lost %d, settled to %d", lost, l.SettledTo("p"))
	}
	l.Prune(61_500_000+2*86400_000, 3600)
	if l.Get(k) != nil || len(l.Of("p"))+len(l.Counted()) != 0 {
		t.Error("still known")
	}
}
