package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// fakeEngine keeps what it is given in maps, and rejects on demand.
type fakeEngine struct {
	store.Engine // the rest panics
	mu           sync.Mutex
	samples      map[string]map[int64]float64 // by labels
	spans        map[store.SpanID]store.Span
	cells        []cell.Cell
	auditors     []cell.Auditor
	pairs        []cell.Pair
	docs         map[string][]byte
	fail         error
	appends      int
	rejectT      int64 // samples of this time are too old
}

func newFake() *fakeEngine {
	return &fakeEngine{samples: map[string]map[int64]float64{}, spans: map[store.SpanID]store.Span{}, docs: map[string][]byte{}}
}

type (
	fakeMetrics struct {
		store.Metrics
		e *fakeEngine
	}
	fakeSpans struct {
		store.Spans
		e *fakeEngine
	}
	fakeLedger struct {
		store.Ledger
		e *fakeEngine
	}
	fakeCatalog struct {
		store.Catalog
		e *fakeEngine
	}
)

func (e *fakeEngine) Metrics() store.Metrics { return fakeMetrics{e: e} }
func (e *fakeEngine) Spans() store.Spans     { return fakeSpans{e: e} }
func (e *fakeEngine) Ledger() store.Ledger   { return fakeLedger{e: e} }
func (e *fakeEngine) Catalog() store.Catalog { return fakeCatalog{e: e} }

func (m fakeMetrics) Append(_ context.Context, t store.Tenant, b *store.MetricBatch) (store.AppendResult, error) {
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	m.e.appends++
	var res store.AppendResult
	if m.e.fail != nil {
		return res, m.e.fail
	}
	var sb labels.ScratchBuilder
	for i := range b.Series {
		s := &b.Series[i]
		key := strings.Clone(string(t) + b.LabelsOf(s, &sb).String())
		if m.e.samples[key] == nil {
			m.e.samples[key] = map[int64]float64{}
		}
		for _, p := range s.Samples {
			if p.T == m.e.rejectT && p.T != 0 {
				res.Rejected = append(res.Rejected, store.Rejection{Reason: "too_old", Count: 1, Example: key})
				continue
			}
			m.e.samples[key][p.T] = p.V
			res.Samples++
		}
		for _, h := range s.Histograms {
			if h.H != nil {
				m.e.samples[key][h.T] = h.H.Sum
			} else {
				m.e.samples[key][h.T] = h.FH.Sum
			}
			res.Histograms++
		}
		res.Exemplars += len(s.Exemplars)
	}
	return res, nil
}

func (s fakeSpans) Append(_ context.Context, _ store.Tenant, spans []store.Span) error {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.e.fail != nil {
		return s.e.fail
	}
	for _, sp := range spans {
		sp.Name, sp.Service, sp.Node, sp.Container = strings.Clone(sp.Name), strings.Clone(sp.Service), strings.Clone(sp.Node), strings.Clone(sp.Container)
		sp.Attrs, sp.Resource, sp.Events, sp.Links = slices.Clone(sp.Attrs), nil, nil, nil
		for i := range sp.Attrs {
			sp.Attrs[i].Key, sp.Attrs[i].Str = strings.Clone(sp.Attrs[i].Key), strings.Clone(sp.Attrs[i].Str)
		}
		s.e.spans[sp.ID] = sp
	}
	return nil
}

func (l fakeLedger) PutCells(_ context.Context, _ store.Tenant, b cell.Batch) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if l.e.fail != nil {
		return l.e.fail
	}
	l.e.auditors = append(l.e.auditors, b.Auditor)
	l.e.cells = append(l.e.cells, b.Cells...)
	return nil
}

func (l fakeLedger) PutPairs(_ context.Context, _ store.Tenant, ps []cell.Pair) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if l.e.fail != nil {
		return l.e.fail
	}
	l.e.pairs = append(l.e.pairs, ps...)
	return nil
}

func (l fakeLedger) Cells(_ context.Context, _ store.Tenant, q store.CellQuery) ([]cell.Cell, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []cell.Cell
	for _, c := range l.e.cells {
		if (q.Pipeline == "" || c.Pipeline == q.Pipeline) && c.Window >= q.From.Unix() && c.Window < q.To.Unix() {
			out = append(out, c)
		}
	}
	return out, nil
}

func (c fakeCatalog) Get(_ context.Context, t store.Tenant, kind, name string) (store.Document, error) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	b, ok := c.e.docs[string(t)+"/"+kind+"/"+name]
	if !ok {
		return store.Document{}, fmt.Errorf("%s: %w", name, store.ErrNotFound)
	}
	return store.Document{Body: b}, nil
}

func (c fakeCatalog) Put(_ context.Context, t store.Tenant, kind, name string, body []byte, _ int64, _ string) (store.Document, error) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.e.docs[string(t)+"/"+kind+"/"+name] = body
	return store.Document{}, nil
}

// rig is an Ingest over a fake engine behind its own routes.
type rig struct {
	t   *testing.T
	e   *fakeEngine
	in  *Ingest
	set *metrics.Set
	h   http.Handler
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, e: newFake(), set: metrics.NewSet()}
	log := slog.New(slog.DiscardHandler)
	r.in = New(cfg, r.e, log, r.set)
	g, err := access.New(access.DefaultConfig(), log, r.set)
	if err != nil {
		t.Fatal(err)
	}
	if r.h, err = g.Handler(r.in.Routes()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) post(path string, body []byte, hdr ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Host = "localhost"
	for i := 0; i+1 < len(hdr); i += 2 {
		req.Header.Set(hdr[i], hdr[i+1])
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	if n := r.in.bodies.inUse.Load(); n != 0 {
		r.t.Errorf("%s: %d bytes are still reserved after the answer", path, n)
	}
	return w
}

const typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

func (r *rig) write2(body []byte, hdr ...string) *httptest.ResponseRecorder {
	return r.post("/api/v1/write", snappy.Encode(nil, body), append([]string{"Content-Type", typeV2, "Content-Encoding", "snappy"}, hdr...)...)
}

// counter sums all series that begin with prefix and hold every part.
func (r *rig) counter(prefix string, parts ...string) (sum int) {
	var b bytes.Buffer
	r.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		ok := strings.HasPrefix(line, prefix)
		for _, p := range parts {
			ok = ok && strings.Contains(line, p)
		}
		if ok {
			f := strings.Fields(line)
			n, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil {
				r.t.Fatal(err)
			}
			sum += int(n)
		}
	}
	return sum
}

// books checks received = stored + Σ dropped for a door and returns the three.
func (r *rig) books(door string) (received, stored, dropped int) {
	r.t.Helper()
	l := `door="` + door + `"`
	received, stored, dropped = r.counter("weir_ingest_received_total", l), r.counter("weir_ingest_stored_total", l), r.counter("weir_ingest_dropped_total", l)
	if received != stored+dropped {
		r.t.Errorf("%s: received %d, but stored %d + dropped %d", door, received, stored, dropped)
	}
	return received, stored, dropped
}

func (e *fakeEngine) sampleCount() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.samples {
		n += len(s)
	}
	return n
}
