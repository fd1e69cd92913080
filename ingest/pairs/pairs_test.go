package pairs

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// book is a ledger that keeps the newest sums.
type book struct {
	store.Ledger
	m    map[bookKey]cell.Pair
	fail error
}

type bookKey struct {
	cell.PairKey
	instance string
	epoch    int64
}

func (b *book) PutPairs(_ context.Context, _ store.Tenant, ps []cell.Pair) error {
	if b.fail != nil {
		return b.fail
	}
	for _, p := range ps {
		k := bookKey{p.PairKey, p.Instance, p.Epoch}
		if old, ok := b.m[k]; !ok || p.Seq > old.Seq {
			b.m[k] = p
		}
	}
	return nil
}

// sums adds everything up per key, without what only says when and where.
func (b *book) sums(kind cell.PairKind) []cell.Pair {
	by := map[cell.PairKey]*cell.Pair{}
	for _, p := range b.m {
		if p.Kind != kind {
			continue
		}
		s := by[p.PairKey]
		if s == nil {
			s = &cell.Pair{PairKey: p.PairKey}
			by[p.PairKey] = s
		}
		s.Add(&p.PairCounts)
	}
	out := make([]cell.Pair, 0, len(by))
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b cell.Pair) int { return a.Compare(b.PairKey) })
	return out
}

func (b *book) one(t *testing.T, kind cell.PairKind) cell.Pair {
	t.Helper()
	list := b.sums(kind)
	if len(list) != 1 {
		t.Fatalf("%d sums of kind %s: %+v, want 1", len(list), kind, list)
	}
	return list[0]
}

var noon = time.Unix(1_732_334_400, 0)

func rigAt(cfg Config, at time.Time) (*Pairs, *book, *metrics.Set) {
	b, set := &book{m: map[bookKey]cell.Pair{}}, metrics.NewSet()
	return New(cfg, "s", at, func() store.Ledger { return b }, slog.New(slog.DiscardHandler), set), b, set
}

func rig() (*Pairs, *book) {
	p, b, _ := rigAt(DefaultConfig(), noon.Add(-time.Hour))
	return p, b
}

func ids(trace, span uint64) (t store.TraceID, s store.SpanID) {
	binary.BigEndian.PutUint64(t[8:], mix(trace+1))
	binary.BigEndian.PutUint64(s[:], mix(span+7))
	return t, s
}

func str(k, v string) store.Attr { return store.Attr{Key: k, Str: v} }
func num(k string, v int64) store.Attr {
	return store.Attr{Key: k, Kind: store.AttrInt, Num: uint64(v)}
}

func producer(trace, span uint64, at time.Time, more ...store.Attr) store.Span {
	t, s := ids(trace, span)
	return store.Span{
		Trace: t, ID: s, Start: at.UnixNano(), Duration: 1e6, Service: "shop", Kind: store.KindProducer,
		Attrs: append([]store.Attr{str("messaging.system", "kafka"), str("messaging.destination.name", "orders"), str("messaging.operation.type", "send")}, more...),
	}
}

func consumer(trace, span uint64, at time.Time, more ...store.Attr) store.Span {
	t, s := ids(trace, span)
	return store.Span{
		Trace: t, ID: s, Start: at.UnixNano(), Duration: 2e6, Service: "enrich", Kind: store.KindConsumer,
		Attrs: append([]store.Attr{
			str("messaging.system", "kafka"), str("messaging.destination.name", "orders"), str("messaging.operation.type", "process"), str("messaging.consumer.group.name", "g"),
		}, more...),
	}
}

func link(s store.Span, to ...store.Span) store.Span {
	for _, x := range to {
		s.Links = append(s.Links, store.SpanLink{Trace: x.Trace, Span: x.ID})
	}
	return s
}

func flush(t interface {
	Context() context.Context
	Fatal(...any)
}, p *Pairs, at time.Time,
) {
	if err := p.Flush(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

// The ways in which two spans can belong together, old names of attributes among them.
func TestJoins(t *testing.T) {
	at, later := noon, noon.Add(50*time.Millisecond)
	base := producer(1, 1, at)
	child := consumer(1, 2, later)
	child.Parent = base.ID
	offset := []store.Attr{str("messaging.destination.partition.id", "3"), num("messaging.kafka.offset", 42)}
	old := store.Span{
		Trace: base.Trace, ID: store.SpanID{9}, Parent: base.ID, Start: later.UnixNano(), Service: "enrich", Kind: store.KindConsumer,
		Attrs: []store.Attr{
			str("messaging.system", "kafka"), str("messaging.destination", "orders"), str("messaging.operation", "process"), str("messaging.kafka.consumer.group", "g"),
		},
	}
	for name, c := range map[string]struct {
		first  []store.Span // teaches that this destination is joined in another way than by links
		up, dn store.Span
	}{
		"link":                     {nil, base, link(consumer(2, 3, later), base)},
		"parent":                   {nil, base, child},
		"old names":                {nil, base, old},
		"offset":                   {[]store.Span{consumer(90, 90, at, offset[0], num("messaging.kafka.offset", 1))}, producer(1, 1, at, offset...), consumer(5, 5, later, offset...)},
		"message id":               {[]store.Span{consumer(90, 90, at, str("messaging.message.id", "z"))}, producer(1, 1, at, str("messaging.message.id", "m")), consumer(5, 5, later, str("messaging.message.id", "m"))},
		"link, and offsets beside": {nil, producer(1, 1, at, offset...), link(consumer(5, 5, later, offset...), base)},
	} {
		for _, order := range []string{"in order", "reader first"} {
			t.Run(name+", "+order, func(t *testing.T) {
				p, b := rig()
				p.ObserveAt("t", c.first, at)
				if order == "in order" {
					p.ObserveAt("t", []store.Span{c.up}, at)
					p.ObserveAt("t", []store.Span{c.dn}, at)
				} else {
					p.ObserveAt("t", []store.Span{c.dn}, at)
					p.ObserveAt("t", []store.Span{c.up}, at)
				}
				flush(t, p, at)
				e := b.one(t, cell.PairEdge)
				if e.From != "shop" || e.To != "enrich" || e.Group != "g" || e.Destination != "orders" || e.Window != noon.Unix() || e.Up != 1 || e.Matched != 1 || e.Wait.Count != 1 {
					t.Errorf("%+v", e)
				}
				if ms := e.Wait.Quantile(0.5); ms < 47 || ms > 51 {
					t.Errorf("wait %g ms", ms)
				}
			})
		}
	}
}

// receive and process spans of one message are one message; a batch span stands for its links.
func TestReceiveAndProcessAreOne(t *testing.T) {
	p, b := rig()
	ups := []store.Span{producer(1, 1, noon), producer(2, 2, noon), producer(3, 3, noon)}
	fetched := link(consumer(9, 9, noon.Add(time.Second)), ups...)
	fetched.Kind = store.KindClient
	fetched.Attrs = append(slices.Clone(fetched.Attrs), str("messaging.operation.type", "receive"), num("messaging.batch.message_count", 3))
	spans := append(slices.Clone(ups), fetched)
	for i, u := range ups[:2] {
		spans = append(spans, link(consumer(uint64(20+i), uint64(20+i), noon.Add(2*time.Second)), u))
	}
	spans = append(spans, link(consumer(30, 30, noon.Add(3*time.Second)), ups[0])) // again
	p.ObserveAt("t", spans, noon)
	p.ObserveAt("t", spans, noon) // a retry of the request
	flush(t, p, noon)
	if e := b.one(t, cell.PairEdge); e.Up != 3 || e.Matched != 3 || e.Doubled != 1 || e.Wait.Count != 2 {
		t.Errorf("%+v", e.PairCounts)
	}
	if r := b.one(t, cell.PairReader); r.Messages != 3 || r.Received != 3 {
		t.Errorf("reader %+v", r.PairCounts)
	}
	if w := b.one(t, cell.PairWriter); w.Messages != 3 {
		t.Errorf("writer %+v", w.PairCounts)
	}
	if w := b.one(t, cell.PairWork); w.Spans != 3 || w.BusyMS != 6 {
		t.Errorf("work %+v", w.PairCounts)
	}
}

// Created messages are what consumers link to; the send that links to them says how many went out.
func TestCreateThenSend(t *testing.T) {
	p, b := rig()
	op := func(s store.Span, v string) store.Span {
		s.Attrs = slices.Clone(s.Attrs)
		s.Attrs[2].Str = v
		return s
	}
	c1, c2 := op(producer(1, 1, noon), "create"), op(producer(1, 2, noon), "create")
	send := op(link(producer(1, 3, noon), c1, c2), "publish")
	send.Kind = store.KindClient
	failed := producer(1, 4, noon)
	failed.Status = store.StatusError
	p.ObserveAt("t", []store.Span{c1, c2, send, failed, link(consumer(5, 5, noon.Add(time.Second)), c1, c2)}, noon)
	flush(t, p, noon)
	if e := b.one(t, cell.PairEdge); e.Up != 2 || e.Matched != 2 {
		t.Errorf("%+v", e.PairCounts)
	}
	if w := b.one(t, cell.PairWriter); w.Messages != 2 || w.Failed != 1 {
		t.Errorf("writer %+v", w.PairCounts)
	}
}

// Two groups and a second stage each have an edge of their own.
func TestGroupsAreApart(t *testing.T) {
	p, b := rig()
	var spans []store.Span
	for i := range uint64(20) {
		u := producer(i, i, noon.Add(time.Duration(i)*10*time.Second))
		spans = append(spans, u, link(consumer(100+i, 100+i, noon.Add(time.Duration(i)*10*time.Second+time.Second)), u))
		if i%2 == 0 {
			o := link(consumer(200+i, 200+i, noon.Add(time.Duration(i)*10*time.Second+time.Second)), u)
			o.Service, o.Attrs = "audit", slices.Clone(o.Attrs)
			o.Attrs[3].Str = "audit"
			spans = append(spans, o)
		}
	}
	p.ObserveAt("t", spans, noon.Add(200*time.Second))
	flush(t, p, noon.Add(260*time.Second))
	var all, half cell.PairCounts
	for _, e := range b.sums(cell.PairEdge) {
		if e.Group == "g" {
			all.Add(&e.PairCounts)
		} else {
			half.Add(&e.PairCounts)
		}
	}
	if all.Up != 20 || all.Matched != 20 || half.Up != 20 || half.Matched != 10 || half.Missed != 6 || half.Waiting != 4 || len(half.Examples) != 6 {
		t.Errorf("g %+v\naudit %+v", all, half)
	}
}

// The order in which spans come, how they are cut into requests, and what comes again change nothing.
func TestOrderAndResendsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var spans []store.Span
		n := rapid.IntRange(1, 30).Draw(rt, "messages")
		for i := range uint64(n) {
			at := noon.Add(time.Duration(rapid.IntRange(0, 200).Draw(rt, "at")) * time.Second)
			u := producer(i, i, at, str("messaging.destination.partition.id", rapid.SampledFrom([]string{"0", "1"}).Draw(rt, "part")))
			if rapid.IntRange(0, 9).Draw(rt, "upstream lost") > 0 {
				spans = append(spans, u)
			}
			for j := range uint64(rapid.IntRange(0, 2).Draw(rt, "taken")) {
				d := link(consumer(1000+2*i+j, 1000+2*i+j, at.Add(time.Second)), u)
				if rapid.Bool().Draw(rt, "group") {
					d.Attrs = slices.Clone(d.Attrs)
					d.Attrs[3].Str = "other"
				}
				spans = append(spans, d)
			}
		}
		run := func(list []store.Span) map[cell.PairKey]cell.PairCounts {
			p, b := rig()
			at := noon.Add(4 * time.Minute)
			for len(list) > 0 {
				k := rapid.IntRange(1, len(list)).Draw(rt, "request")
				p.ObserveAt("t", list[:k], at)
				if rapid.IntRange(0, 3).Draw(rt, "flush") == 0 {
					flush(rt, p, at)
				}
				list = list[k:]
			}
			flush(rt, p, at)
			flush(rt, p, at.Add(3*time.Minute))
			flush(rt, p, at.Add(20*time.Minute))
			out := map[cell.PairKey]cell.PairCounts{}
			for _, kind := range []cell.PairKind{cell.PairEdge, cell.PairReader, cell.PairWriter, cell.PairWork} {
				for _, s := range b.sums(kind) {
					c := s.PairCounts
					if c.Doubled > 0 { // which of two process spans comes first is nobody's doing
						c.Wait, c.Total = nil, nil
					}
					out[s.PairKey] = c
				}
			}
			return out
		}
		want := run(spans)
		shuffled := rapid.Permutation(spans).Draw(rt, "order")
		shuffled = append(slices.Clone(shuffled), spans[:rapid.IntRange(0, len(spans)).Draw(rt, "again")]...)
		if d := gocmp.Diff(want, run(shuffled)); d != "" {
			rt.Fatal(d)
		}
	})
}

// A full table makes the sample smaller, on both sides alike: no miss comes of it.
func TestFullTableMakesNoMisses(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxPending = 1000
	p, b, set := rigAt(cfg, noon.Add(-time.Hour))
	at := noon
	var waiting []store.Span
	for i := range uint64(20_000) {
		u := producer(i, i, at)
		p.ObserveAt("t", []store.Span{u}, at)
		if waiting = append(waiting, link(consumer(100_000+i, 100_000+i, at.Add(5*time.Second)), u)); len(waiting) > 300 {
			p.ObserveAt("t", waiting[:1], at)
			waiting = waiting[1:]
		}
		at = at.Add(10 * time.Millisecond)
		if i%500 == 0 {
			flush(t, p, at)
		}
	}
	p.ObserveAt("t", waiting, at)
	flush(t, p, at)
	flush(t, p, at.Add(20*time.Minute))
	var e, r, w cell.PairCounts
	for kind, c := range map[cell.PairKind]*cell.PairCounts{cell.PairEdge: &e, cell.PairReader: &r, cell.PairWriter: &w} {
		for _, s := range b.sums(kind) {
			c.Add(&s.PairCounts)
		}
	}
	if e.Missed != 0 || e.Expired != 0 || r.Reverse != 0 || e.Matched != e.Up || e.Up < 200 || e.Up > 5000 || w.Messages != 20_000 || r.Messages != 20_000 {
		t.Errorf("edge %+v\nreader %+v\nwriter %+v", e, r, w)
	}
	var text strings.Builder
	set.WritePrometheus(&text)
	if !strings.Contains(text.String(), "weir_pairs_halved_total") || strings.Contains(text.String(), "weir_pairs_halved_total 0") {
		t.Error("the smaller sample is not counted")
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if tb := p.tenants["t"]; len(tb.upMem) > 1100 || len(tb.dnMem) > 1100 {
		t.Errorf("%d and %d kept", len(tb.upMem), len(tb.dnMem))
	}
}

// What process spans wait for, whichever span comes first; client spans of services that process nothing are left alone.
func TestDependencies(t *testing.T) {
	p, b := rig()
	work := consumer(1, 2, noon)
	work.Duration = 100e6
	call := func(i uint64, service string, ms int64, attrs ...store.Attr) store.Span {
		tr, _ := ids(1, 0)
		_, id := ids(1, 100+i)
		return store.Span{Trace: tr, ID: id, Parent: work.ID, Start: noon.UnixNano(), Duration: ms * 1e6, Service: service, Kind: store.KindClient, Attrs: attrs}
	}
	db := []store.Attr{str("db.system.name", "postgresql"), str("db.operation.name", "INSERT"), str("server.address", "pg-1")}
	p.ObserveAt("t", []store.Span{consumer(7, 8, noon)}, noon) // from now on enrich is known to process
	p.ObserveAt("t", []store.Span{call(1, "enrich", 60, db...), call(2, "shop", 60, db...)}, noon)
	p.ObserveAt("t", []store.Span{work}, noon)
	p.ObserveAt("t", []store.Span{
		call(3, "enrich", 20, str("http.request.method", "GET"), str("server.address", "geo")), call(1, "enrich", 60, db...),
		call(4, "enrich", 1, str("rpc.service", "geo.Lookup"), str("rpc.method", "Find")), call(5, "enrich", 1, str("something", "else")),
	}, noon)
	flush(t, p, noon)
	w := b.one(t, cell.PairWork)
	var got []string
	for _, d := range w.Calls {
		got = append(got, fmt.Sprintf("%s %d %.0f", d.Name, d.N, d.MS))
	}
	want := []string{"postgresql INSERT pg-1 1 60", "http GET geo 1 20", "rpc geo.Lookup 1 1"}
	if d := gocmp.Diff(want, got); d != "" || w.Spans != 2 || w.BusyMS != 102 {
		t.Errorf("%s\n%+v", d, w.PairCounts)
	}
}

func TestSampling(t *testing.T) {
	p, b := rig()
	u, d := producer(1, 1, noon), consumer(2, 2, noon.Add(time.Second))
	u.TraceState, d.TraceState = "ot=th:8", "ot=th:8"
	p.ObserveAt("t", []store.Span{u, link(d, u)}, noon)
	flush(t, p, noon)
	if w := b.one(t, cell.PairWriter); w.Adjusted != 2 || w.Known != 1 {
		t.Errorf("writer %+v", w.PairCounts)
	}
	if e := b.one(t, cell.PairEdge); !e.Apart {
		t.Errorf("a reader in a trace of its own that samples: %+v", e.PairCounts)
	}
	// A reader that keeps less of the same traces is compared only with what it would have kept.
	p, b = rig()
	for i := range uint64(200) {
		at := noon.Add(time.Duration(i) * time.Second)
		u := producer(i, i, at)
		spans := []store.Span{u}
		if u.Trace[9] >= 0x80 {
			d := consumer(i, 1000+i, at.Add(time.Second))
			d.Parent, d.TraceState = u.ID, "ot=th:8"
			spans = append(spans, d)
		}
		p.ObserveAt("t", spans, at)
	}
	flush(t, p, noon.Add(300*time.Second))
	var e cell.PairCounts
	for _, s := range b.sums(cell.PairEdge) {
		e.Add(&s.PairCounts)
	}
	if e.Missed != 0 || e.Up < 70 || e.Up > 130 || e.Up != e.Matched {
		t.Errorf("%+v", e)
	}
}

// A window that was forgotten and gets spans again adds up under a name of its own.
func TestLateSpansAddUp(t *testing.T) {
	p, b := rig()
	p.ObserveAt("t", []store.Span{producer(1, 1, noon)}, noon)
	flush(t, p, noon)
	for m := range 20 {
		flush(t, p, noon.Add(time.Duration(m)*time.Minute))
	}
	late := noon.Add(30 * time.Minute)
	p.ObserveAt("t", []store.Span{producer(2, 2, noon)}, late)
	flush(t, p, late)
	if w := b.one(t, cell.PairWriter); w.Messages != 2 || len(b.m) != 2 {
		t.Errorf("%d messages in %v", w.Messages, slices.Collect(maps.Keys(b.m)))
	}
}

// A ledger that is away loses nothing.
func TestWritesAreRepeated(t *testing.T) {
	p, b := rig()
	b.fail = store.ErrUnavailable
	p.ObserveAt("t", []store.Span{producer(1, 1, noon)}, noon)
	if err := p.Flush(t.Context(), noon); err == nil {
		t.Fatal("no error")
	}
	b.fail = nil
	flush(t, p, noon)
	if w := b.one(t, cell.PairWriter); w.Messages != 1 {
		t.Errorf("%+v", w.PairCounts)
	}
}

func FuzzObserve(f *testing.F) {
	f.Add([]byte("messaging.destination.name\x00orders\x01messaging.kafka.offset\x0012"), uint8(4), "ot=th:8", int64(1_732_334_400e9), int64(5))
	f.Fuzz(func(t *testing.T, attrs []byte, kind uint8, state string, start, dur int64) {
		p, _ := rig()
		var s store.Span
		s.Kind, s.TraceState, s.Start, s.Duration, s.Service = store.SpanKind(kind), state, start, max(dur, 0), "x"
		for i, kv := range strings.Split(string(attrs), "\x01") {
			k, v, _ := strings.Cut(kv, "\x00")
			s.Attrs = append(s.Attrs, store.Attr{Key: k, Str: v, Kind: store.AttrKind(i % 5), Num: uint64(len(v)) << (i % 64)})
		}
		s.Trace, s.ID = ids(1, 1)
		c := s
		c.Kind, c.Parent = store.KindConsumer, s.ID
		_, c.ID = ids(1, 2)
		p.ObserveAt("t", []store.Span{s, c, s}, noon)
		flush(t, p, noon)
		flush(t, p, noon.Add(time.Hour))
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []func(*Config){
		func(c *Config) { c.Window = 1500 * time.Millisecond }, func(c *Config) { c.Age = 0 }, func(c *Config) { c.Arrival = 2 * time.Hour }, func(c *Config) { c.MaxPending = 1 }, func(c *Config) { c.Flush = 0 },
	} {
		cfg := DefaultConfig()
		c(&cfg)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
