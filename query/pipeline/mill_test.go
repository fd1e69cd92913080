package pipeline

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// mill plays the scenarios with the figures of docs/pipeline-model.md: source → orders → enrich → enriched → sink, 1,000 records
// a second, windows of a minute, exact counts with fingerprints and ids. Collectors flush, brokers are polled and weir
// evaluates every ten seconds.
type mill struct {
	t     *testing.T
	e     *fakeEngine
	s     *Service
	now   int64 // seconds since the beginning
	made  int64 // records of the source so far; record i has event time i ms
	seq   uint64
	cells map[cell.Key]*cell.Cell
	dirty map[cell.Key]bool

	queues [2]millQueue // orders, enriched
	ids    bool         // cells sample ids
	lossy  bool         // counts came in datagrams

	// What happens to record i; nil: it goes through.
	transport func(i int64) int             // how many copies of it reach orders
	enrich    func(i int64) (cell.Dir, int) // what becomes of it in enrich: Out with the number counted, Filtered, DLQ, or "" with 0
	batch     int64                         // enrich puts out so many as one; 0: each
	lose      func(b int64) bool            // batch b is put out and never reaches enriched
	hush      func(b int64) bool            // batch b vanishes inside enrich
	silent    int64                         // when the source falls silent; 0: never
	stalled   func(now int64) bool          // enrich takes nothing
	speed     int64                         // records enrich takes per second at most; 0: any
	epoch     int64                         // of the collector of enrich and sink now, Unix ms; 0: the first
	hold      bool                          // enrich does not even ask while it is stalled, so its commit stays where it was
	keep      int64                         // age in seconds at which orders deletes; 0: never
	auditor   func(*cell.Auditor)           // what the collector of enrich and sink says of itself
	uncounted func(i int64) bool            // enrich's count of taking it in is gone with a datagram
	foreign   int64                         // records per second of a producer that nobody counts

	seen   map[answer.State]int // states of the pipeline at every evaluation
	losing string               // what it said when LOSING
	after  func()               // after every evaluation
}

type millQueue struct {
	records   []int64 // numbers of the records; -1: of nobody
	committed int64
	start     int64
}

const millRate = 1000

func newMill(t *testing.T) *mill {
	t.Helper()
	if testing.Short() {
		t.Skip("780,000 records are too many for -short")
	}
	m := &mill{t: t, e: newFake(), cells: map[cell.Key]*cell.Cell{}, dirty: map[cell.Key]bool{}, ids: true, seen: map[answer.State]int{}}
	c := DefaultConfig()
	c.Lag, c.Freshness = 2*time.Minute, 2*time.Minute
	m.configure(c)
	return m
}

func (m *mill) configure(c Config) {
	m.s = New(c, m.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
}

func (m *mill) count(node, stage string, dir cell.Dir, dst, group string, i int64, n int) {
	for range n {
		w := demoStart + i/millRate/60*60
		k := cell.Key{Pipeline: "orders", Stage: stage, Dir: dir, Destination: dst, Group: group, Window: w, Width: 60}
		c := m.cells[k]
		if c == nil {
			c = &cell.Cell{Key: k, Instance: node + "/" + stage, Node: node, Epoch: (demoStart - 60) * 1000, Lossy: m.lossy}
			if m.ids {
				c.IDs = &cell.IDs{}
			}
			if node == "n2" && m.epoch > 0 {
				c.Epoch = m.epoch
			}
			m.cells[k] = c
		}
		var text [20]byte
		id := string(strconv.AppendInt(text[:0], i, 10))
		h := cell.Hash(id)
		c.Add(cell.Counts{N: 1, FpSum: h, FpXor: h, Hashed: 1, MaxTS: demoStart*1000 + i})
		if m.ids {
			c.IDs.Observe(h, id)
		}
		m.dirty[k] = true
	}
}

func (m *mill) second() {
	m.now++
	orders, enriched := &m.queues[0], &m.queues[1]
	for ; m.made < m.now*millRate && (m.silent == 0 || m.now <= m.silent); m.made++ {
		i := m.made
		m.count("n1", "source", cell.Out, "orders", "", i, 1)
		copies := 1
		if m.transport != nil {
			copies = m.transport(i)
		}
		for range copies {
			orders.records = append(orders.records, i)
		}
	}
	for range m.foreign {
		orders.records = append(orders.records, -1)
	}
	if m.keep > 0 {
		orders.start = max(0, (m.now-m.keep)*millRate)
	}
	if busy := m.stalled == nil || !m.stalled(m.now); busy || !m.hold {
		orders.committed = max(orders.committed, min(orders.start, int64(len(orders.records))))
	}
	left := m.speed
	for (m.stalled == nil || !m.stalled(m.now)) && orders.committed < int64(len(orders.records)) && (m.speed == 0 || left > 0) {
		i := orders.records[orders.committed]
		orders.committed++
		left--
		if i < 0 { // carries the time of its neighbours, and an id of its own
			i = m.now*millRate - 1
		}
		if m.uncounted == nil || !m.uncounted(i) {
			m.count("n2", "enrich", cell.In, "orders", "enrich", i, 1)
		}
		if m.batch > 0 {
			m.member(i)
			continue
		}
		dir, n := cell.Out, 1
		if m.enrich != nil {
			dir, n = m.enrich(i)
		}
		switch dir {
		case cell.Out:
			m.count("n2", "enrich", cell.Out, "enriched", "", i, n)
			enriched.records = append(enriched.records, i)
		case cell.Filtered:
			m.count("n2", "enrich", dir, "", "", i, n)
		case cell.DLQ:
			m.count("n2", "enrich", dir, "dead", "", i, n)
		default:
		}
	}
	for ; enriched.committed < int64(len(enriched.records)); enriched.committed++ {
		m.count("n2", "sink", cell.In, "enriched", "sink", enriched.records[enriched.committed], 1)
	}
	if m.now%10 == 0 {
		m.evaluate()
	}
}

// member puts a record into its batch, and the whole batch out with its last one.
func (m *mill) member(i int64) {
	b := i / m.batch
	if m.hush != nil && m.hush(b) {
		return
	}
	m.count("n2", "enrich", cell.Covers, "enriched", "", i, 1)
	if i%m.batch != m.batch-1 {
		return
	}
	m.count("n2", "enrich", cell.Out, "enriched", "", b*m.batch, 1)
	if m.lose == nil || !m.lose(b) {
		m.queues[1].records = append(m.queues[1].records, b*m.batch)
	}
}

func (m *mill) run(seconds int) {
	m.t.Helper()
	for range seconds {
		m.second()
	}
}

// evaluate flushes, polls and evaluates.
func (m *mill) evaluate() {
	m.t.Helper()
	m.seq++
	at := (demoStart + m.now) * 1000
	batches := map[string]*cell.Batch{}
	for _, n := range []string{"n1", "n2"} {
		b := &cell.Batch{Auditor: cell.Auditor{Node: n, Epoch: (demoStart - 60) * 1000, Seq: m.seq, At: at, FlushMS: 10_000}}
		if n == "n2" && m.auditor != nil {
			m.auditor(&b.Auditor)
		}
		batches[n] = b
	}
	for k := range m.dirty {
		c := *m.cells[k]
		c.Seq, c.IDs = m.seq, c.IDs.Clone()
		batches[c.Node].Cells = append(batches[c.Node].Cells, c)
	}
	clear(m.dirty)
	for _, b := range batches {
		if err := m.e.Ledger().PutCells(context.Background(), store.DefaultTenant, *b); err != nil {
			m.t.Fatal(err)
		}
	}
	for q, group := range []string{"enrich", "sink"} {
		name := []string{"orders", "enriched"}[q]
		put := func(metric string, v int64, more ...string) {
			m.e.sample(at, float64(v), labels.FromStrings(append([]string{model.MetricNameLabel, "weir_broker_" + metric, "system", "kafka", "cluster", "c", "destination", name, "partition", "0", "node", "n1"}, more...)...))
		}
		put("start_offset", m.queues[q].start)
		put("end_offset", int64(len(m.queues[q].records)))
		put("committed_offset", m.queues[q].committed, "group", group)
	}
	m.e.sample(at, 1, labels.FromStrings(model.MetricNameLabel, "weir_broker_up", "system", "kafka", "cluster", "c"))
	m.s.Evaluate(context.Background(), time.Unix(demoStart+m.now, 0))
	p, err := m.s.Pipeline(context.Background(), store.DefaultTenant, "orders")
	if err != nil {
		m.t.Fatal(err)
	}
	m.seen[p.State]++
	if p.State == answer.Losing && m.losing == "" {
		m.losing = p.Sentence
	}
	if m.after != nil {
		m.after()
	}
}

func (m *mill) page() answer.Pipeline {
	m.t.Helper()
	p, err := m.s.Pipeline(context.Background(), store.DefaultTenant, "orders")
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// ten are the verdicts of ten windows of one balance, the second to the eleventh: in the first counting began.
func (m *mill) ten(kind store.EdgeKind, to string) []store.Verdict {
	m.t.Helper()
	var out []store.Verdict
	for w := int64(demoStart + 60); w < demoStart+660; w += 60 {
		for k, v := range m.e.verdicts {
			if k.Kind == kind && k.To == to && k.Window == w {
				out = append(out, v)
				if !v.Settled {
					m.t.Errorf("%s %s, window %d: %s is not settled", kind, to, (w-demoStart)/60, v.State)
				}
			}
		}
	}
	if len(out) != 10 {
		m.t.Fatalf("%s %s: %d windows, want ten", kind, to, len(out))
	}
	return out
}

// each wants the same of each of ten windows.
func (m *mill) each(kind store.EdgeKind, to, state string, up, down, delta int64) (total store.Verdict) {
	m.t.Helper()
	for i, v := range m.ten(kind, to) {
		if v.State != state || v.Up != up || v.Down != down || v.Delta != delta {
			m.t.Errorf("%s %s, window %d: %s %q, up %d, down %d, δ %d; want %s, %d, %d, %d (%v)", kind, to, i, v.State, v.Class, v.Up, v.Down, v.Delta, state, up, down, delta, v.Reasons)
		}
		total.Up, total.Down, total.Delta = total.Up+v.Up, total.Down+v.Down, total.Delta+v.Delta
		total.Lost, total.Surplus, total.Epsilon = total.Lost+v.Lost, total.Surplus+v.Surplus, total.Epsilon+v.Epsilon
		total.Examples = append(total.Examples, v.Examples...)
	}
	return total
}

// row is the balance of a stage on the Loss page.
func (m *mill) row(stage string) answer.LossRow {
	m.t.Helper()
	l, err := m.s.Loss(context.Background(), store.DefaultTenant, unix(demoStart), unix(demoStart+m.now), "orders")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range l.Rows {
		if r.Where == stage {
			return r
		}
	}
	m.t.Fatalf("no row of %s", stage)
	return answer.LossRow{}
}

// calm wants that the pipeline was never anything an alert rule fires on.
func (m *mill) calm() {
	m.t.Helper()
	if n := m.seen[answer.Losing] + m.seen[answer.Late] + m.seen[answer.Draining]; n > 0 {
		m.t.Errorf("states on the way: %v; a quiet scenario pages nobody (%s)", m.seen, m.losing)
	}
	for k, v := range m.e.verdicts {
		if v.Lost > 0 || v.Surplus > 0 && v.State != flow.Unknown {
			m.t.Errorf("%v: %s, lost %d, surplus %d", k, v.State, v.Lost, v.Surplus)
		}
	}
	if p := m.page(); p.Lost24h != 0 {
		m.t.Errorf("lost in a day: %d", p.Lost24h)
	}
}

func newService(c Config, e store.Engine) *Service {
	return New(c, e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func orNil(p *float64) any {
	if p == nil {
		return nil
	}
	return *p
}

func unix(s int64) time.Time { return time.Unix(s, 0) }
