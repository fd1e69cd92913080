package telemetry

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

func nothing(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }

// A difference that comes and goes is what is just being handled; one that stays is a leak.
func TestDoors(t *testing.T) {
	set := metrics.NewSet()
	received := set.NewCounter(`weir_ingest_received_total{door="audit"}`)
	stored := set.NewCounter(`weir_ingest_stored_total{door="audit"}`)
	bad := set.NewCounter(`weir_ingest_dropped_total{door="audit",reason="a \"bad\" one"}`)
	set.NewCounter("weir_other_total").Set(7)
	d := NewDoors(set)
	row := func(now int64) answer.DoorRow {
		t.Helper()
		d.Observe(now)
		rows, versions, err := d.Rows(t.Context(), nothing, now)
		if err != nil || len(rows) != 1 || len(versions) != 0 {
			t.Fatalf("%+v %v %v", rows, versions, err)
		}
		return rows[0]
	}
	received.Set(10)
	stored.Set(8)
	bad.Set(2)
	if r := row(1000); !r.Balanced || r.Unit != "cells" || r.Received != 10 || len(r.Dropped) != 1 || r.Dropped[0] != (answer.DropRow{Reason: `a "bad" one`, Count: 2}) {
		t.Errorf("%+v", r)
	}
	received.Set(110)
	if r := row(11_000); !r.Balanced || r.Received != 10 || r.Diff != 0 {
		t.Errorf("just being handled: %+v", r)
	}
	if r := row(62_000); r.Balanced || r.Diff != 100 || r.Rate == nil || *r.Rate != 0 {
		t.Errorf("a leak: %+v", r)
	}
	if rows, _, err := NewDoors(nil).Rows(t.Context(), nothing, 1000); err != nil || rows == nil || len(rows) > 0 {
		t.Errorf("no doors: %v %v", rows, err)
	}
}

// Records that never arrived are gaps from when their collector was last complete, and are told.
func TestSpoolGaps(t *testing.T) {
	heard := []Collector{{Node: "n", LastSeen: 9_990_000, Gaps: 3}}
	b := New(Options{Collectors: func() []Collector { return heard }, Forget: time.Hour, Overflow: new(metrics.Counter)})
	read := func(now int64) {
		t.Helper()
		if err := b.Read(t.Context(), nothing, now); err != nil {
			t.Fatal(err)
		}
	}
	read(10_000_000)
	if got := b.Lost(); len(got) != 0 {
		t.Errorf("before anybody looked: %+v", got)
	}
	heard = []Collector{{Node: "n", LastSeen: 10_020_000, Gaps: 5}}
	read(10_005_000) // too soon
	read(10_020_000)
	if got := b.Lost(); len(got) != 1 || got[0] != (flow.Gap{Node: "n", Kind: flow.GapLost, From: 9_930_000, To: 10_020_000, Drops: 2}) {
		t.Errorf("%+v", got)
	}
	now := int64(10_030_000)
	c := b.Completeness(nil, maps.All(map[brokers.ClusterKey]brokers.Poll{
		{System: "kafka", Cluster: "a"}: {At: now, Up: true}, {System: "kafka", Cluster: "b"}: {At: now},
		{System: "nats"}: {At: now - 2*brokers.StaleAfter, Up: true}, {System: "gone"}: {At: 1},
	}), now)
	want := []string{"5 records of the spool of n never arrived.", "No offsets of nats for 1 m 30 s.", "The broker kafka b does not answer."}
	if c.Share == nil || *c.Share != 1.0/3 || !slices.Equal(c.Missing, want) {
		t.Errorf("%v of %s", c.Share, strings.Join(c.Missing, "\n"))
	}
	if c := b.Completeness(nil, maps.All(map[brokers.ClusterKey]brokers.Poll{}), now); c.Share != nil {
		t.Errorf("nothing is expected: %v", *c.Share)
	}
}

// Minutes that are over are forgotten one by one.
func TestMinutes(t *testing.T) {
	n := &node{lost: map[string]*[minutes]float64{}}
	n.roll(100)
	n.add(100, false, "x", 5)
	n.roll(100 + minutes - 1)
	if m := n.lost["x"]; m == nil || m[100%minutes] != 5 {
		t.Errorf("%v", m)
	}
	n.roll(100 + minutes)
	if m := n.lost["x"]; m == nil || m[100%minutes] != 0 {
		t.Errorf("%v", m)
	}
}
