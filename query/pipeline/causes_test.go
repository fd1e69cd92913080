package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// A throttled container, and the deploy before it: named in the row, on the stage's page, with figures.
func TestThrottledAfterDeploy(t *testing.T) {
	w := newWorld(t)
	deploy := answer.Change{At: (demoStart + 50) * 1000, Text: "g runs 1.4.2, was 1.4.1.", Kind: "deploy"}
	w.hook = func(tn *tenant) {
		busy, mark := 0.98, 12.5
		tn.hooks.facts = func(*pipe, string, int64) stageFacts { return stageFacts{busy: &busy, watermark: &mark} }
		tn.hooks.dependencies = func(*pipe, string, int64) []answer.Dependency {
			return []answer.Dependency{{Name: "SELECT orders", Share: 0.3, P99: 0.2, Spans: 1200}}
		}
	}
	told := fmt.Sprintf(`{"at":%d,"text":%q,"kind":"deploy"}`, deploy.At, deploy.Text)
	if _, err := w.e.Catalog().Put(context.Background(), store.DefaultTenant, "annotation", fmt.Sprintf("%015d-0", deploy.At), []byte(told), 0, "ci"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	usage := func(name string, v float64) {
		w.e.sample(w.now*1000, v, labels.FromStrings(model.MetricNameLabel, name, "node", "n1", "service", "g", "container", "abc", "version", "1.4.2"))
	}
	w.run(200, func(i int) {
		w.lane("orders", 0, 0, 1000*float64(i), 1000*float64(min(i, 60))+600*float64(max(i-60, 0)))
		usage("weir_container_cpu_usage_seconds_total", 0.5*float64(i))
		usage("weir_container_cpu_limit_cores", 0.5)
		usage("weir_container_cpu_periods_total", 10*float64(i))
		usage("weir_container_cpu_throttled_periods_total", 6*float64(i))
		usage("weir_container_memory_working_set_bytes", 50e6)
		usage("weir_container_memory_limit_bytes", 100e6)
		usage("weir_container_memory_oom_kills_total", 0)
	})
	p := w.page("orders")
	want := "Its containers are throttled in 60 % of the periods at their limit of 0.5 cores. It began at 04:0"
	if c := p.Cause; c == nil || c.Class != "throttled" || !strings.Contains(p.Sentence, want) || !strings.Contains(p.Sentence, "after: g runs 1.4.2, was 1.4.1.") ||
		c.Before == nil || *c.Before != deploy || c.Since < deploy.At || c.Since > deploy.At+25_000 || len(c.Facts) < 2 {
		t.Errorf("%q %+v", p.Sentence, c)
	}
	if p.Watermark == nil || *p.Watermark != 12.5 {
		t.Errorf("watermark %v", p.Watermark)
	}
	st, err := w.s.Stage(context.Background(), store.DefaultTenant, "orders", "g")
	if err != nil || len(st.Containers) != 1 || len(st.Versions) != 1 || len(st.Slow) != 1 || st.Busy == nil || st.Watermark == nil {
		t.Fatalf("%+v %v", st, err)
	}
	c := st.Containers[0]
	if *c.CPU != 0.5 || *c.CPULimit != 0.5 || *c.Throttled != 0.6 || *c.Memory != 50e6 || *c.MemLimit != 100e6 || c.OOM == nil || *c.OOM != 0 || c.Version != "1.4.2" {
		t.Errorf("%+v", c)
	}
	if in := st.Inputs[0]; in.Rate == nil || *in.Rate < 990 || in.Taken == nil || *in.Taken > 650 || in.Forecast.Drain == nil || in.Forecast.Drain.Value != nil {
		t.Errorf("%+v", in)
	}
	have := map[string]bool{}
	for _, s := range w.e.order {
		have[s.ls.Get(model.MetricNameLabel)] = true
	}
	for _, name := range []string{seriesDrain, seriesWatermark} {
		if !have[name] {
			t.Errorf("no series %s", name)
		}
	}
}

// More arrives than is usual for the hour of the week.
func TestSurge(t *testing.T) {
	w := newWorld(t)
	in := labels.FromStrings(model.MetricNameLabel, seriesIn, "pipeline", "orders")
	for i := range int64(720) {
		w.e.sample((demoStart-7*86_400-1800+5*i)*1000, 1000+float64(i%50), in)
	}
	w.run(240, func(i int) {
		w.lane("orders", 0, 0, 1000*float64(i)+1500*float64(max(i-100, 0)), 1000*float64(i)+500*float64(max(i-100, 0)))
	})
	p := w.page("orders")
	if p.Cause == nil || p.Cause.Class != "surge" || !strings.Contains(p.Sentence, "2.5 k/s arrive; up to 1.0 k/s are usual for this hour of the week.") {
		t.Errorf("%q %+v", p.Sentence, p.Cause)
	}
}

func TestGroupsAreSearchedAndSorted(t *testing.T) {
	w := newWorld(t)
	w.run(60, func(i int) {
		for _, topic := range []string{"orders", "payments", "logs"} {
			lag := map[string]float64{"orders": 100, "payments": 10 * float64(i), "logs": 0}[topic]
			w.lane(topic, 0, 0, 100*float64(i)+1000, 100*float64(i)+1000-lag)
		}
	})
	ask := func(q answer.GroupQuery) (names []string, total int) {
		t.Helper()
		g, err := w.s.Groups(context.Background(), store.DefaultTenant, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range g.Groups {
			names = append(names, r.Destination)
			if len(r.Lag.History) == 0 || r.Lag.History[len(r.Lag.History)-1] < 0 {
				t.Errorf("%s has no lag of the last hour: %v", r.ID, r.Lag.History)
			}
			if r.Pipeline != r.Destination || r.Stage != "g" || r.ID != "kafka~c~"+r.Destination+"~g" {
				t.Errorf("%+v", r)
			}
		}
		return names, g.Total
	}
	if got, n := ask(answer.GroupQuery{Limit: 2}); n != 3 || strings.Join(got, " ") != "payments orders" {
		t.Errorf("%v of %d", got, n)
	}
	if got, n := ask(answer.GroupQuery{Limit: 2, Offset: 2, Sort: "name"}); n != 3 || strings.Join(got, " ") != "payments" {
		t.Errorf("%v of %d", got, n)
	}
	if got, n := ask(answer.GroupQuery{Text: "ORD", Sort: "messages"}); n != 1 || got[0] != "orders" {
		t.Errorf("%v of %d", got, n)
	}
	if _, n := ask(answer.GroupQuery{System: "nats"}); n != 0 {
		t.Error("another system")
	}
	if _, err := w.s.Stage(context.Background(), store.DefaultTenant, "orders", "nobody"); err == nil {
		t.Error("an unknown stage")
	}
	if _, err := w.s.Heat(context.Background(), store.DefaultTenant, "orders", "orders", "g", time.Unix(0, 0), time.Unix(1e6, 0), time.Second); err == nil {
		t.Error("too many columns")
	}
	if _, err := w.s.WhatIf(context.Background(), store.DefaultTenant, "orders", answer.WhatIfQuery{Group: "nobody"}); err == nil {
		t.Error("an unknown group")
	}
}
