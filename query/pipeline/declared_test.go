package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/declared"
	"github.com/weirhq/weir/store"
)

const ordersYAML = `id: orders
owner: team-orders
slo: {lag: 30s, completeness: 0.999}
stages:
  - {name: producer, kind: source, writes: [orders]}
  - name: enrich
    kind: KIND
    reads: [{destination: orders, group: enrich}]
    writes: [WRITES]
    ratio: {RATIO}
    expected_instances: N
  - {name: sink, kind: sink, reads: [{destination: enriched, group: sink}], writes: [table]}
`

func ordersDecl(kind, writes, ratio string, n int) string {
	return strings.NewReplacer("KIND", kind, "WRITES", writes, "RATIO", ratio, "N", fmt.Sprint(n)).Replace(ordersYAML)
}

func (d *demo) declare(yaml string, version int64) answer.PipelineConfig {
	d.t.Helper()
	if d.now == demoStart {
		d.run(1)
	}
	c, err := d.s.PutPipelineConfig(context.Background(), store.DefaultTenant, "me", d.name, yaml, version)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// states counts the settled verdicts of a stage's balance from a time on.
func (d *demo) states(to string, from int64) map[string]int {
	out := map[string]int{}
	for k, v := range d.e.verdicts {
		if k.Kind == store.EdgeBalance && k.To == to && v.Settled && k.Window >= from {
			out[v.State]++
		}
	}
	return out
}

// Scenario 12: a declared filter that counts what it leaves out is FILTERED, with its selectivity; one that counts
// nothing is held to the declared share.
func TestDeclaredFilter(t *testing.T) {
	for _, told := range []bool{true, false} {
		d := newDemo(t, demoConfig())
		d.told = told
		d.filter = func(n int) bool { return n%10 < 3 }
		d.declare(ordersDecl("filter", "enriched", "value: 0.7, band: 0.01", 0), 0)
		d.run(90)
		states := d.states("enrich", demoStart+10)
		want := flow.Filtered
		if !told {
			want = flow.OK
		}
		if states[want] < 5 || len(states) != 1 {
			t.Errorf("told %v: %v, want %s", told, states, want)
		}
		if told {
			for k, v := range d.e.verdicts {
				if v.State == flow.Filtered && (v.Up != 10_000 || v.Down != 7000 || v.Filtered != 3000 || v.Lost != 0 || !strings.Contains(strings.Join(v.Reasons, " "), "7,000 of 10,000 passed the filter (70 %, declared 70 %)")) {
					t.Errorf("%v: %+v", k, v)
				}
			}
		}
		d.want(answer.OK, "")
		from := d.now
		d.filter = func(n int) bool { return n%100 < 32 } // 0.68 instead of 0.70
		d.run(60)
		if states := d.states("enrich", from+10); states[flow.Anomaly] < 3 || states[flow.Loss] > 0 {
			t.Errorf("told %v: %v after the change", told, states)
		}
		if p := d.page(); p.Lost24h != 0 {
			t.Errorf("told %v: lost %d", told, p.Lost24h)
		}
	}
}

// Scenario 13: fan-out to three, one branch drops one in a hundred.
func TestDeclaredFanout(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.fan = func(n int) []string {
		if n%100 == 0 {
			return []string{"enriched", "b"}
		}
		return []string{"enriched", "b", "c"}
	}
	d.declare(ordersDecl("fanout", "enriched, b, c", "k: 3", 0), 0)
	d.run(90)
	n := 0
	for k, v := range d.e.verdicts {
		if k.Kind != store.EdgeBalance || k.To != "enrich" || !v.Settled || k.Window < demoStart+10 {
			continue
		}
		n++
		if v.State != flow.Loss || v.Up != 10_000 || v.Down != 29_900 || v.Lost != 100 || !strings.Contains(strings.Join(v.Reasons, " "), "c lacks 100 (1.00 %)") {
			t.Errorf("%v: %+v", k, v)
		}
	}
	if n < 5 {
		t.Errorf("%d windows", n)
	}
}

func TestExpectedInstances(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.uncount = func(ins string) bool { return ins == "enrich-3" } // not instrumented yet
	d.declare(ordersDecl("map", "enriched", "", 3), 0)
	d.run(60)
	p := d.want(answer.Unknown, "")
	if !strings.Contains(p.Sentence, "2 of 3 expected instances of enrich count.") {
		t.Errorf("sentence %q", p.Sentence)
	}
	for k, v := range d.e.verdicts {
		if flow.IsLoss(v.State) || v.State == flow.Duplicates {
			t.Errorf("%v: %s, but a third of the counts is missing", k, v.State)
		}
	}
	if s := d.states("enrich", demoStart+10); s[flow.Unknown] == 0 || len(s) != 1 {
		t.Errorf("%v", s)
	}
	from := d.now
	d.uncount = nil
	d.run(60)
	d.want(answer.OK, "")
	if s := d.states("enrich", from+10); s[flow.OK] < 3 || len(s) != 1 {
		t.Errorf("%v", s)
	}
}

// Queues and groups that were pipelines of their own become the stages of a declared one within seconds, and go back.
func TestDeclaredFromOffsets(t *testing.T) {
	e := newFake()
	s := New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	now := int64(demoStart)
	second := func() {
		now++
		for _, g := range [][2]string{{"orders", "cg-1"}, {"enriched", "cg-2"}, {"orders", "debug-7"}, {"other", "x"}} {
			put := func(name string, v float64, more ...string) {
				e.sample(now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "system", "kafka", "cluster", "c", "destination", g[0], "partition", "0"}, more...)...))
			}
			put("weir_broker_start_offset", 0)
			put("weir_broker_end_offset", float64((now-demoStart)*100))
			put("weir_broker_committed_offset", float64((now-demoStart)*100-50), "group", g[1])
		}
		s.Evaluate(context.Background(), time.Unix(now, 0))
	}
	names := func() string {
		ps, err := s.Pipelines(context.Background(), store.DefaultTenant)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range ps.Pipelines {
			out = append(out, r.ID)
		}
		return strings.Join(out, " ")
	}
	for range 20 {
		second()
	}
	if got := names(); got != "enriched orders other" {
		t.Fatalf("found %s", got)
	}
	const yaml = `id: shop
slo: {lag: 1h}
ignore: {groups: [debug-*]}
stages:
  - {name: web, kind: source, writes: [orders]}
  - {name: enrich, kind: map, reads: [{destination: orders, group: cg-1}], writes: [enriched]}
  - {name: store, kind: sink, reads: [{destination: enriched, group: cg-2}]}
`
	if _, err := s.PutPipelineConfig(context.Background(), store.DefaultTenant, "me", "shop", yaml, 0); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		second()
	}
	if got := names(); got != "other shop" {
		t.Fatalf("declared: %s", got)
	}
	p, err := s.Pipeline(context.Background(), store.DefaultTenant, "shop")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range p.Nodes {
		nodes = append(nodes, n.Kind+" "+n.Name)
	}
	if got := strings.Join(nodes, ", "); got != "source web, queue orders, stage enrich, queue enriched, sink store" {
		t.Errorf("nodes %s", got)
	}
	if !p.Declared || p.State != answer.OK || len(p.Partitions) != 2 {
		t.Errorf("%+v", p.PipelineRow)
	}
	if err := s.DeletePipelineConfig(context.Background(), store.DefaultTenant, "shop"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		second()
	}
	if got := names(); got != "enriched orders other" {
		t.Errorf("taken back: %s", got)
	}
}

// What counts under the name of a service and another pipeline joins the declared stage.
func TestDeclaredServiceOfAnotherPipeline(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(30)
	yaml := strings.ReplaceAll(strings.ReplaceAll(ordersDecl("map", "enriched", "", 0), "id: orders", "id: shop"), "name: enrich", "name: improve\n    services: [enrich]")
	if _, err := d.s.PutPipelineConfig(context.Background(), store.DefaultTenant, "me", "shop", yaml, 0); err != nil {
		t.Fatal(err)
	}
	d.name = "shop"
	for i := range 6 {
		// The applications go on under their old name.
		d.name = "orders"
		d.second()
		d.name = "shop"
		if _, err := d.s.Pipeline(context.Background(), store.DefaultTenant, "shop"); err != nil && i > 4 {
			t.Fatal(err)
		}
	}
	for range 90 {
		d.name = "orders"
		d.second()
	}
	d.name = "shop"
	p := d.want(answer.OK, "")
	if len(p.Stages) != 3 || p.Stages[1].Stage != "improve" {
		t.Errorf("%+v", p.Stages)
	}
	ps, err := d.s.Pipelines(context.Background(), store.DefaultTenant)
	if err != nil || len(ps.Pipelines) != 1 {
		t.Errorf("%d pipelines, %v", len(ps.Pipelines), err)
	}
	if s := d.states("improve", 0); s[flow.OK] < 3 {
		t.Errorf("%v", s)
	}
}

func TestConfigAPI(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	ctx := context.Background()
	c, err := d.s.PipelineConfig(ctx, store.DefaultTenant, "orders")
	if err != nil || c.Source != "none" || !c.Editable || c.Declared != "" || c.Version != 0 {
		t.Fatalf("%+v %v", c, err)
	}
	check, err := d.s.CheckPipelineConfig(ctx, store.DefaultTenant, "orders", c.Proposed)
	if err != nil || !check.OK {
		t.Fatalf("the proposal is not good: %+v %v\n%s", check, err, c.Proposed)
	}
	for _, f := range check.Findings {
		if f.Kind != "note" {
			t.Errorf("the proposal differs: %+v\n%s", f, c.Proposed)
		}
	}
	c = d.declare(c.Proposed, 0)
	if c.Version != 1 || c.By != "me" || c.Source != "catalog" || c.Declared == "" {
		t.Errorf("%+v", c)
	}
	if _, err := d.s.PutPipelineConfig(ctx, store.DefaultTenant, "you", "orders", c.Proposed, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("an old version: %v", err)
	}
	if _, err := d.s.PutPipelineConfig(ctx, store.DefaultTenant, "you", "orders", "id: orders\nstage: []\n", 1); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), `line 2: unknown key "stage"`) {
		t.Errorf("%v", err)
	}
	if _, err := d.s.PutPipelineConfig(ctx, store.DefaultTenant, "you", "x", c.Declared, 0); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), `id is "orders"`) {
		t.Errorf("%v", err)
	}
	d.run(3)
	if !d.page().Declared {
		t.Error("not shown as declared")
	}
	steal := "id: thief\nstages: [{name: enrich, kind: sink, reads: [{destination: orders, group: enrich}]}]\n"
	if _, err := d.s.PutPipelineConfig(ctx, store.DefaultTenant, "you", "thief", steal, 0); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "belongs to stage enrich of pipeline \"orders\" already") {
		t.Errorf("%v", err)
	}
	if _, err := d.s.PipelineConfig(ctx, store.DefaultTenant, "nope"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	// Declared before anything is heard of it: shown, and unknown.
	if _, err := d.s.PutPipelineConfig(ctx, store.DefaultTenant, "you", "soon", "id: soon\nstages: [{name: a, kind: sink, reads: [{destination: nothing, group: g}]}]\n", 0); err != nil {
		t.Fatal(err)
	}
	d.run(3)
	p, err := d.s.Pipeline(ctx, store.DefaultTenant, "soon")
	if err != nil || p.State != answer.Unknown || p.Sentence != "Stage a is declared, and nothing is heard of it." || p.Nodes[1].State != answer.Unknown {
		t.Errorf("%+v %v", p, err)
	}
	if err := d.s.DeletePipelineConfig(ctx, store.DefaultTenant, "soon"); err != nil {
		t.Error(err)
	}
	if err := d.s.DeletePipelineConfig(ctx, store.DefaultTenant, "soon"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestDeclaredInFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, after time.Duration) {
		t.Helper()
		f := filepath.Join(dir, "orders.yaml")
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(after)
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
	c := demoConfig()
	c.Dir = dir
	d := newDemo(t, c)
	write(ordersDecl("map", "enriched", "", 0), -time.Hour)
	d.run(20)
	if !d.page().Declared {
		t.Fatal("not declared")
	}
	ctx := context.Background()
	got, err := d.s.PipelineConfig(ctx, store.DefaultTenant, "orders")
	if err != nil || got.Editable || got.Source != "file" || got.File != filepath.Join(dir, "orders.yaml") {
		t.Errorf("%+v %v", got, err)
	}
	_, err = d.s.PutPipelineConfig(ctx, store.DefaultTenant, "me", "orders", got.Declared, 0)
	if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "orders.yaml") {
		t.Errorf("%v", err)
	}
	write("id: orders\nstages: [{name: a}]\n", -time.Minute)
	d.run(8)
	if !d.page().Declared {
		t.Error("a mistake in a file takes back what was declared")
	}
	if n, err := declared.CheckDir(dir); n != 0 || err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%d %v", n, err)
	}
	if err := os.Remove(filepath.Join(dir, "orders.yaml")); err != nil {
		t.Fatal(err)
	}
	d.run(8)
	if d.page().Declared {
		t.Error("the file is gone and still in force")
	}
	if n, err := declared.CheckDir(dir); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, err := declared.CheckDir(filepath.Join(dir, "none")); err == nil {
		t.Error("no folder, no error")
	}
}
