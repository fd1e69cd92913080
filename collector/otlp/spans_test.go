package otlp

import (
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirhq/weir/internal/cell"
)

// messages is a batch of messaging spans of one service; each change makes one span.
func messages(state string, changes ...func(ptrace.Span)) ptrace.Traces {
	td := spans(len(changes), map[string]any{"service.name": "enrich", "service.instance.id": "pod-1", "host.name": "n1"})
	at := time.UnixMilli(1_732_334_400_500)
	for i, change := range changes {
		s := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(i)
		s.SetKind(ptrace.SpanKindProducer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.TraceState().FromRaw(state)
		a := s.Attributes()
		a.PutStr("messaging.system", "kafka")
		a.PutStr("messaging.destination.name", "orders")
		change(s)
	}
	return td
}

func op(kind ptrace.SpanKind, op string, more ...func(ptrace.Span)) func(ptrace.Span) {
	return func(s ptrace.Span) {
		s.SetKind(kind)
		s.Attributes().PutStr("messaging.operation.type", op)
		for _, f := range more {
			f(s)
		}
	}
}

func counted(a *fakeAudit) map[cell.Key]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[cell.Key]uint64{}
	for _, c := range a.calls {
		out[c.Inc.Key] += c.Inc.Counts.N
	}
	return out
}

func TestSpanCells(t *testing.T) {
	stamp := func(s ptrace.Span) { s.Attributes().PutInt("weir.ts", 1_732_334_405_000) }
	group := func(s ptrace.Span) { s.Attributes().PutStr("messaging.consumer.group.name", "g") }
	links := func(s ptrace.Span) { s.Links().AppendEmpty(); s.Links().AppendEmpty() }
	batch := func(s ptrace.Span) { s.Attributes().PutInt("messaging.batch.message_count", 100) }
	child := func(s ptrace.Span) { s.SetParentSpanID(pcommon.SpanID{9}) }
	failed := func(s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeError) }
	named := func(s ptrace.Span) {
		s.Attributes().PutStr("weir.pipeline", "shop")
		s.Attributes().PutStr("weir.stage", "enricher")
	}
	r := start(t, nil)
	a := r.audit
	td := messages(
		"ot=th:0",
		op(ptrace.SpanKindProducer, "send"),          // begins a trace: its start is the event time
		op(ptrace.SpanKindProducer, "create", stamp), // counted when it is sent
		op(ptrace.SpanKindClient, "send", stamp, links),
		op(ptrace.SpanKindProducer, "publish", stamp, batch, named),
		op(ptrace.SpanKindProducer, "send", child), // nobody knows when the message came into being
		op(ptrace.SpanKindProducer, "send", stamp, failed),
		op(ptrace.SpanKindClient, "receive", stamp, group, links),
		op(ptrace.SpanKindConsumer, "process", stamp, group),
		op(ptrace.SpanKindClient, "settle", stamp, group),
		op(ptrace.SpanKindServer, "send"),
		func(s ptrace.Span) { s.Attributes().Clear() },
		op(ptrace.SpanKindProducer, "send", stamp, func(s ptrace.Span) { s.Attributes().PutBool("messaging.destination.temporary", true) }),
	)
	if err := r.sendSpans(t, td); err != nil {
		t.Fatal(err)
	}
	key := func(dir cell.Dir, w int64, more ...string) cell.Key {
		k := cell.Key{Pipeline: cell.SpanPipeline, Stage: "enrich", Dir: dir, Destination: "orders", Window: w}
		if len(more) == 1 {
			k.Group = more[0]
		}
		return k
	}
	mine := key(cell.SpanOut, 1_732_334_405)
	mine.Pipeline, mine.Stage = "shop", "enricher"
	want := map[cell.Key]uint64{
		key(cell.SpanOut, 1_732_334_400): 1, key(cell.SpanOut, 1_732_334_405): 2, mine: 100, key(cell.SpanOut, 0): 1, key(cell.SpanFailed, 1_732_334_405): 1,
		key(cell.SpanReceived, 1_732_334_405, "g"): 2, key(cell.SpanIn, 1_732_334_405, "g"): 1, key(cell.SpanAcked, 1_732_334_405, "g"): 1,
	}
	if d := gocmp.Diff(want, counted(a)); d != "" {
		t.Error(d)
	}
	if err := r.sendSpans(t, td); err != nil { // the answer got lost
		t.Fatal(err)
	}
	if d := gocmp.Diff(want, counted(a)); d != "" {
		t.Errorf("the same batch again: %s", d)
	}
	if i := slices.IndexFunc(a.calls, func(c setCall) bool {
		return c.Inc.Instance != "pod-1" || c.Inc.Service != "enrich" || c.Inc.Node != "n1" || !c.Delta
	}); i >= 0 {
		t.Errorf("%+v", a.calls[i])
	}
}

// Of sampled spans nobody can count exactly; of spans that say nothing only who was told so.
func TestSampledSpansMakeNoCells(t *testing.T) {
	for _, c := range []struct {
		cfg, state, resource string
		want                 bool
	}{
		{"auto", "ot=th:0", "", true},
		{"auto", "ot=th:8", "", false},
		{"auto", "", "", false},
		{"auto", "", "none", true},
		{"auto", "ot=th:8", "none", false},
		{"all", "", "", true},
		{"all", "ot=th:8", "", false},
		{"off", "ot=th:0", "none", false},
	} {
		r := start(t, func(cfg *Config, _ *fakeOutput) { cfg.SpanCells = c.cfg })
		a := r.audit
		td := messages(c.state, op(ptrace.SpanKindProducer, "send"))
		if c.resource != "" {
			td.ResourceSpans().At(0).Resource().Attributes().PutStr("weir.sampling", c.resource)
		}
		if err := r.sendSpans(t, td); err != nil {
			t.Fatal(err)
		}
		if got := len(counted(a)) > 0; got != c.want {
			t.Errorf("%+v: counted %v", c, got)
		}
	}
}

// What could not be spooled is sent again: it must not have been counted.
func TestSpanCellsWaitForTheSpool(t *testing.T) {
	r := start(t, nil)
	a := r.audit
	r.out.setFail(errors.New("disk full"))
	td := messages("ot=th:0", op(ptrace.SpanKindProducer, "send"))
	if err := r.sendSpans(t, td); err == nil || len(counted(a)) != 0 {
		t.Errorf("error %v, counted %v", err, counted(a))
	}
	r.out.setFail(nil)
	if err := r.sendSpans(t, td); err != nil || len(counted(a)) != 1 {
		t.Errorf("error %v, counted %v", err, counted(a))
	}
}
