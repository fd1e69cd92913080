package changes

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/storetest"
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
		err := Check(&c.a, now)
		if c.want == "" && (err != nil || c.a.At == 0 || c.a.Kind != "note") || c.want != "" && (!errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	docs := storetest.Memory{}
	drops := Dropped{new(metrics.Counter), new(metrics.Counter)}
	engine := storetest.CatalogOnly{Docs: docs}
	const now = 1_732_334_400_000
	for i := range int64(maxAnnotations + 5) {
		at := now - 86400_000 + i
		if i < 3 {
			at = now - annotationAge.Milliseconds() - 1 - i
		}
		body := fmt.Appendf(nil, `{"at":%d,"text":"x"}`, at)
		if _, err := engine.Catalog().Put(t.Context(), store.DefaultTenant, kindAnnotation, nameOf(at), body, -1, ""); err != nil {
			t.Fatal(err)
		}
	}
	b := NewAnnotations(engine, store.DefaultTenant, slog.New(slog.DiscardHandler), drops)
	if err := b.Read(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if n := len(b.all()); n != maxAnnotations || drops.Age.Get() != 3 || drops.Limit.Get() != 2 {
		t.Errorf("%d kept, %d too old, %d too many", n, drops.Age.Get(), drops.Limit.Get())
	}
	if len(docs) != maxAnnotations {
		t.Errorf("%d documents", len(docs))
	}
}
