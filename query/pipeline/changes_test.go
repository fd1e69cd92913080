package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

func TestAnnotations(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 100
	d.run(20)
	ctx := context.Background()
	now := time.Now()
	tell := func(a answer.Annotation) answer.Annotation {
		t.Helper()
		a, err := d.s.Annotate(ctx, store.DefaultTenant, "ci", a)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ms := now.UnixMilli()
	tell(answer.Annotation{Text: "everywhere", At: ms - 3000, Kind: "config"})
	one := tell(answer.Annotation{Text: "enrich 42", At: ms - 2000, Kind: "deploy", Service: "enrich", ID: "mine", By: "me", Seen: true})
	tell(answer.Annotation{Text: "other", At: ms - 1000, Pipeline: "other"})
	tell(answer.Annotation{Text: "stranger", At: ms - 1500, Service: "stranger"})
	tell(answer.Annotation{Text: "long", At: ms - 20*86400_000, Until: ms - 60_000})
	if one.By != "ci" || one.Seen || one.ID == "mine" || !strings.HasPrefix(one.ID, fmt.Sprintf("%015d-", one.At)) {
		t.Errorf("%+v", one)
	}
	texts := func(from, to time.Time, pipeline string) string {
		t.Helper()
		l, err := d.s.Annotations(ctx, store.DefaultTenant, from, to, pipeline)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range l.Annotations {
			out = append(out, a.Text)
		}
		return strings.Join(out, ", ")
	}
	d.run(20) // services of the stages are looked at every 15 s
	for _, c := range []struct{ pipeline, want string }{{"", "other, stranger, enrich 42, everywhere, long"}, {"orders", "enrich 42, everywhere, long"}, {"other", "other, everywhere, long"}} {
		if got := texts(now.Add(-time.Hour), now.Add(time.Hour), c.pipeline); got != c.want {
			t.Errorf("%q: %s, want %s", c.pipeline, got, c.want)
		}
	}
	if got := texts(now.Add(-2*time.Second), now.Add(-1500*time.Millisecond), ""); got != "stranger, enrich 42" {
		t.Errorf("range: %s", got)
	}
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(17)
	if got := texts(now.Add(-time.Hour), now.Add(time.Hour), "orders"); got != "enrich 42, everywhere, long" {
		t.Errorf("after a restart: %s", got)
	}
	if err := d.s.DeleteAnnotation(ctx, store.DefaultTenant, one.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.s.DeleteAnnotation(ctx, store.DefaultTenant, one.ID); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if got := texts(now.Add(-time.Hour), now.Add(time.Hour), "orders"); got != "everywhere, long" {
		t.Errorf("after delete: %s", got)
	}
}

// changeDeploy is the kind of changes made of new versions.
const changeDeploy = "deploy"

// A new version of a service is a deploy marker, told once, with how far it has come; the first one seen is none.
func TestDeploysAreSeen(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 100
	version := map[string]string{"1": "41", "2": "41", "3": "41"}
	run := func(n int) {
		for range n {
			for in, v := range version {
				d.e.sample((d.now+1)*1000, 1, labels.FromStrings(model.MetricNameLabel, "weir_service_info", "service", "enrich", "instance", in, "version", v, "image", "reg/enrich:"+v))
			}
			d.second()
		}
	}
	run(40)
	if c := d.page().Changes; hasKind(c, changeDeploy) {
		t.Errorf("the first version is no deploy: %+v", c)
	}
	version["1"] = "42"
	run(16)
	want := func(text string) {
		t.Helper()
		n := 0
		for _, c := range d.page().Changes {
			if c.Kind == changeDeploy {
				n++
				if c.Text != text {
					t.Errorf("%q, want %q", c.Text, text)
				}
			}
		}
		if n != 1 {
			t.Errorf("%d deploys", n)
		}
	}
	run(60) // until the old instance is not counted any more
	want("enrich 41 → 42 (1 of 3 instances)")
	version["2"], version["3"] = "42", "42"
	run(90)
	want("enrich 41 → 42 (3 of 3 instances)")
	p := d.page()
	if p.Stages[1].Version != "42" {
		t.Errorf("the stage runs %q", p.Stages[1].Version)
	}
	// Another process does not tell it again.
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	run(40)
	want("enrich 41 → 42 (3 of 3 instances)")
	for k := range version {
		version[k] = "41"
	}
	run(100)
	n := 0
	for _, c := range d.page().Changes {
		if c.Kind == changeDeploy {
			n++
		}
	}
	if n != 2 {
		t.Errorf("a rollback is a deploy as well: %+v", d.page().Changes)
	}
}

func hasKind(cs []answer.Change, kind string) bool {
	for _, c := range cs {
		if c.Kind == kind {
			return true
		}
	}
	return false
}
