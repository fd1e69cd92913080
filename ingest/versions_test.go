package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

func TestVersionsOfResources(t *testing.T) {
	v := newVersions(metrics.NewSet())
	attr := func(k, val string) store.Attr { return store.Attr{Key: k, Str: val} }
	res := []store.Attr{attr("service.version", "42"), attr("container.image.name", "reg/enrich"), attr("container.image.tag", "v42"), attr("service.instance.id", "i1")}
	spans := []store.Span{
		{Service: "enrich", Node: "n1", Resource: res},
		{Service: "enrich", Node: "n1", Resource: res},
		{Service: "none", Resource: []store.Attr{attr("os", "linux")}},
		{Service: "bare"},
		{Service: "long", Resource: []store.Attr{attr("service.version", strings.Repeat("x", 300))}},
	}
	v.hearSpans("a", spans, 1_000_000)
	md := pmetric.NewMetrics()
	r := md.ResourceMetrics().AppendEmpty().Resource().Attributes()
	r.PutStr("service.name", "sink")
	r.PutStr("container.image.name", "reg:5000/sink:7")
	v.hearMetrics("b", md, 1_000_000)
	got := map[string]bool{}
	for tenant, b := range v.batches(1_010_000) {
		var sb labels.ScratchBuilder
		for i := range b.Series {
			ls := b.LabelsOf(&b.Series[i], &sb)
			got[fmt.Sprint(tenant, " ", ls.String())] = true
		}
	}
	for _, w := range []string{
		`a {__name__="weir_service_info", image="reg/enrich:v42", instance="i1", node="n1", service="enrich", version="42"}`,
		`b {__name__="weir_service_info", image="reg:5000/sink:7", service="sink", version="7"}`,
	} {
		if !got[w] {
			t.Errorf("no %s in %v", w, got)
		}
	}
	if len(got) != 2 || v.dropped.Get() != 1 {
		t.Errorf("%v, %d dropped", got, v.dropped.Get())
	}
	if n := len(v.batches(1_100_000)); n != 0 {
		t.Errorf("what is not heard any more is still told: %d", n)
	}
	for i := range maxVersions + 10 {
		v.hear(versionKey{service: "s", version: fmt.Sprint(i)}, 2_000_000)
	}
	if len(v.seen) != maxVersions || v.dropped.Get() != 11 {
		t.Errorf("%d kept, %d dropped", len(v.seen), v.dropped.Get())
	}
}
