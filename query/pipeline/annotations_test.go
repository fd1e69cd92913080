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

func TestAnnotationsAreChecked(t *testing.T) {
	const now = 1_732_334_400_000
	tags := map[string]string{}
	for i := range 21 {
		tags[fmt.Sprint(i)] = ""
	}
	for name, c := range map[string]struct {
		a    answer.Annotation
		want string
	}{
		"good":           {answer.Annotation{Text: "x"}, ""},
		"empty":          {answer.Annotation{Text: "  "}, "text is empty"},
		"seconds":        {answer.Annotation{Text: "x", At: now / 1000}, "of seconds write 1732334400000"},
		"negative":       {answer.Annotation{Text: "x", At: -1}, "leave it out for now"},
		"nanoseconds":    {answer.Annotation{Text: "x", At: now * 1_000_000}, "more than a day ahead"},
		"tomorrow":       {answer.Annotation{Text: "x", At: now + 3600_000}, ""},
		"old":            {answer.Annotation{Text: "x", At: now - 91*86400_000}, "kept for 90 days"},
		"until before":   {answer.Annotation{Text: "x", At: now, Until: now - 1}, "is before at"},
		"until for ever": {answer.Annotation{Text: "x", At: now, Until: now * 1000}, "more than 30 days"},
		"long":           {answer.Annotation{Text: strings.Repeat("x", 5000)}, "at most 4000"},
		"kind":           {answer.Annotation{Text: "x", Kind: strings.Repeat("x", 51)}, "too long"},
		"tags":           {answer.Annotation{Text: "x", Tags: tags}, "21 tags"},
		"tag":            {answer.Annotation{Text: "x", Tags: map[string]string{"": "y"}}, "1 to 100 bytes"},
	} {
		err := checkAnnotation(&c.a, now)
		if c.want == "" && (err != nil || c.a.At == 0 || c.a.Kind != "note") || c.want != "" && (!errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

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

func TestAnnotationsAreBounded(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 10
	d.run(2)
	tn := d.s.tenant(store.DefaultTenant)
	now := d.now * 1000
	for i := range int64(maxAnnotations + 5) {
		at := now - 86400_000 + i
		if i < 3 {
			at = now - annotationAge.Milliseconds() - 1 - i
		}
		if err := tn.keep(context.Background(), answer.Annotation{ID: nameAnnotation(at), At: at, Text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tn.pruneAnnotations(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	if n := len(tn.annotations.list); n != maxAnnotations || d.s.agedOut.Get() != 3 || d.s.pushedOut.Get() != 2 {
		t.Errorf("%d kept, %d too old, %d too many", n, d.s.agedOut.Get(), d.s.pushedOut.Get())
	}
	docs, _ := d.e.Catalog().List(context.Background(), store.DefaultTenant, kindAnnotation)
	if len(docs) != maxAnnotations {
		t.Errorf("%d documents", len(docs))
	}
}

// A new version of a service is a deploy marker, told once, with how far it has come; the first one seen is none.
func TestDeploysAreSeen(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 100
	version := map[string]string{"1": "41", "2": "41", "3": "41"}
	run := func(n int) {
		for range n {
			for in, v := range version {
				d.e.sample((d.now+1)*1000, 1, labels.FromStrings(model.MetricNameLabel, seriesService, "service", "enrich", "instance", in, "version", v, "image", "reg/enrich:"+v))
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
