package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

// exportBook turns what exporters of brokers say into the series that weir's own pollers write (docs/wire.md,
// weir_broker_…), with node="exporter". Everything that reads those series reads these. Where a poller of weir's own
// tells of a destination, the exporter is not listened to; one that names another cluster is.
type exportBook struct {
	pending  map[exportKey][]exportSample
	clusters map[exportDest]bool // of pending: a label named the cluster
	dests    map[exportDest]*exported
	overflow brokers.Counter
	// patience is how long the figures of a destination stay true: exporters are slower than pollers. Milliseconds.
	patience map[string]int64
	silenced map[exportDest]int64 // destinations that a poller of weir's own tells of, since when it was last so
	wrote    int64                // oldest sample written since the broker book was last read; 0 = none
}

type exportDest struct{ system, cluster, destination string }

func (d exportDest) queue() brokers.QueueKey {
	return brokers.QueueKey{ClusterKey: brokers.ClusterKey{System: d.system, Cluster: d.cluster}, Destination: d.destination}
}

type exportKey struct {
	exportDest
	partition, group string
}

// sample is a figure at a time, Unix milliseconds.
type sample struct {
	at int64
	v  float64
}

type exportSample struct {
	role rules.Role
	at   int64
	v    float64
}

// exported is a destination as an exporter tells it.
type exported struct {
	begun     bool
	ends      map[string][]sample // by partition, the newest last
	published float64             // taken in since it is followed
	counts    []sample            // published over time
	position  float64             // made-up end: what went in
	offset    float64             // of position over published
	groups    map[string]*exportedGroup
	interval  int64
	last      int64
}

type exportedGroup struct {
	backlog, unacked, age, committed sample
	prevAge                          sample
}

// Bounds of exporters' figures.
const (
	maxExported     = 200_000 // series in one reading
	maxExportedEach = 10_000  // samples of each
	keptEnds        = 32
	exporterNode    = "exporter"
	farOff          = 1 << 32 // where made-up positions begin: no backlog is as large
)

func newExportBook(overflow brokers.Counter) exportBook {
	return exportBook{
		pending: map[exportKey][]exportSample{}, clusters: map[exportDest]bool{}, dests: map[exportDest]*exported{}, patience: map[string]int64{},
		silenced: map[exportDest]int64{}, overflow: overflow,
	}
}

// namesCluster says whether a label tells which cluster is meant; those that every scrape has tell who was asked.
func namesCluster(label string) bool {
	switch strings.TrimPrefix(label, "exported_") {
	case "", "job", "instance", "service", "service_name":
		return false
	}
	return true
}

func (e *exportBook) take(m *rules.Match, role rules.Role, at int64, v float64) {
	k := exportKey{exportDest{m.Broker, m.Cluster, m.Destination}, m.Partition, m.Group}
	held, known := e.pending[k]
	if len(held) >= maxExportedEach || !known && len(e.pending) >= maxExported {
		e.overflow.Inc()
		return
	}
	if !known && namesCluster(m.ClusterLabel) {
		e.clusters[k.exportDest] = true
	}
	e.pending[k] = append(e.pending[k], exportSample{role, at, v})
}

// native says whether a poller of weir's own tells of a destination: in the cluster that the exporter names, else in any.
func (t *tenant) native(d exportDest, now int64) bool {
	if t.counters.exports.clusters[d] {
		return t.broker.TellsOf(d.queue(), now-300_000)
	}
	return t.broker.Tells(d.system, d.destination, now-300_000)
}

// writeExports writes what exporters said since the last reading.
func (t *tenant) writeExports(ctx context.Context, now int64) error {
	e := &t.counters.exports
	for d, at := range e.silenced {
		if now-at > 600_000 {
			delete(e.silenced, d)
		}
	}
	defer func() { t.silenced.Store(int64(len(e.silenced))) }()
	if len(e.pending) == 0 {
		return nil
	}
	byDest := map[exportDest][]exportKey{}
	for k := range e.pending {
		byDest[k.exportDest] = append(byDest[k.exportDest], k)
	}
	w := exportWriter{byTime: map[int64]*batch{}}
	for d, keys := range byDest {
		if d.destination != "" && t.native(d, now) {
			e.silenced[d] = now
			t.forgetExported(d)
			continue
		}
		x := e.dests[d]
		if x == nil {
			x = &exported{ends: map[string][]sample{}, groups: map[string]*exportedGroup{}}
			e.dests[d] = x
		}
		t.resume(d, x)
		x.write(&w, d, keys, e.pending)
		if d.destination != "" && x.last > 0 {
			e.patience[d.destination] = max(staleAfter, 4*x.interval+2*max(now-x.last, 0))
		}
	}
	clear(e.pending)
	clear(e.clusters)
	for d, x := range e.dests {
		if x.last > 0 && now-x.last > t.s.cfg.Forget.Milliseconds() {
			delete(e.dests, d)
			delete(e.patience, d.destination)
		}
	}
	for _, at := range w.times() {
		if _, err := t.s.engine.Metrics().Append(ctx, t.id, &w.byTime[at].b); err != nil {
			return fmt.Errorf("cannot store what exporters say of brokers: %w", err)
		}
		if e.wrote == 0 || at < e.wrote {
			e.wrote = at
		}
	}
	return nil
}

// written is the oldest of what was written since the last call; 0 = nothing.
func (e *exportBook) written() int64 {
	at := e.wrote
	e.wrote = 0
	return at
}

// staleAfter is how old the figures of a destination may be.
func (t *tenant) staleAfter(destination string) int64 {
	return max(staleAfter, t.counters.exports.patience[destination])
}

// resume goes on where an earlier process ended: made-up positions must not fall.
func (t *tenant) resume(d exportDest, x *exported) {
	if x.begun {
		return
	}
	x.begun = true
	if q := t.broker.Queue(d.queue()); q != nil {
		if p := q.Partition("0"); p != nil {
			x.position, _ = p.EndOffset()
		}
	}
}

// forgetExported takes a destination out of the broker book: weir's own poller tells of it now.
func (t *tenant) forgetExported(d exportDest) {
	e := &t.counters.exports
	if e.dests[d] != nil {
		delete(e.dests, d)
		delete(e.patience, d.destination)
	}
	t.broker.Forget(d.queue())
}

// isSilenced says whether a broker series was written for an exporter that is no longer listened to.
func (t *tenant) isSilenced(ls labels.Labels) bool {
	return ls.Get("node") == exporterNode && t.counters.exports.silenced[exportDest{ls.Get("system"), ls.Get("cluster"), ls.Get("destination")}] > 0
}

// exportWriter collects samples by time.
type exportWriter struct{ byTime map[int64]*batch }

func (w *exportWriter) times() []int64 {
	out := make([]int64, 0, len(w.byTime))
	for at := range w.byTime {
		out = append(out, at)
	}
	slices.Sort(out)
	return out
}

func (w *exportWriter) put(name string, at int64, v float64, d exportDest, group, partition string) {
	b := w.byTime[at]
	if b == nil {
		b = &batch{ref: map[string]uint32{}, at: at}
		w.byTime[at] = b
	}
	b.add(name, &v, "cluster", d.cluster, "destination", d.destination, "group", group, "node", exporterNode, "partition", partition, "system", d.system)
}

// write turns the samples of a destination into positions, in the order of time.
func (x *exported) write(w *exportWriter, d exportDest, keys []exportKey, pending map[exportKey][]exportSample) {
	type event struct {
		exportKey
		exportSample
	}
	var all []event
	for _, k := range keys {
		for _, s := range pending[k] {
			all = append(all, event{k, s})
		}
	}
	rank := map[rules.Role]int{rules.End: 0, rules.Start: 1, rules.Published: 2, rules.Unacked: 3, rules.Age: 4}
	order := func(r rules.Role) int {
		if n, ok := rank[r]; ok {
			return n
		}
		return 5
	}
	slices.SortStableFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(order(a.role), order(b.role)), cmp.Compare(a.group, b.group), flow.ComparePartitions(a.partition, b.partition))
	})
	for _, ev := range all {
		if ev.at > x.last {
			if gap := ev.at - x.last; x.last > 0 && gap < 3_600_000 {
				x.interval = max(gap, x.interval*3/4)
			}
			x.last = ev.at
		}
		g := x.groups[ev.group]
		if g == nil && ev.group != "" {
			g = &exportedGroup{}
			x.groups[ev.group] = g
		}
		s := sample{ev.at, ev.v}
		switch ev.role {
		case rules.End:
			x.ends[ev.partition] = append(x.ends[ev.partition], s)
			x.ends[ev.partition] = x.ends[ev.partition][max(0, len(x.ends[ev.partition])-keptEnds):]
			w.put("weir_broker_end_offset", ev.at, ev.v, d, "", ev.partition)
		case rules.Start:
			w.put("weir_broker_start_offset", ev.at, ev.v, d, "", ev.partition)
		case rules.Committed:
			w.put("weir_broker_committed_offset", ev.at, ev.v, d, ev.group, ev.partition)
		case rules.Members:
			w.put("weir_broker_group_members", ev.at, ev.v, d, ev.group, "")
		case rules.Published:
			if len(x.counts) == 0 {
				x.offset = max(x.position, farOff) - x.published
			}
			x.published += ev.v
			x.counts = append(x.counts, sample{ev.at, x.published})
			x.counts = x.counts[max(0, len(x.counts)-keptEnds):]
		case rules.Unacked:
			if g != nil {
				g.unacked = s
			}
		case rules.Age:
			if g != nil {
				g.prevAge, g.age = g.age, s
			}
		case rules.Backlog:
			if end, ok := x.endAt(ev.partition, ev.at); ok {
				w.put("weir_broker_committed_offset", ev.at, math.Max(0, end-ev.v), d, ev.group, ev.partition)
			} else if g != nil {
				x.waiting(w, d, ev.group, g, s)
			}
		default: // discards are told as losses of the stage
		}
	}
}

// endAt is the end of a partition at the time of a backlog of the same scrape.
func (x *exported) endAt(partition string, at int64) (float64, bool) {
	for _, s := range slices.Backward(x.ends[partition]) {
		if s.at <= at {
			return s.v, at-s.at < 1000
		}
	}
	return 0, false
}

// waiting makes positions for a queue that tells only how much waits. What went in is counted by the queue, or
// follows from the backlog and the age of its head: when the age grows by less than the time that passed, the head
// went forward, over as many records as lie in so much time. With neither nothing is written.
func (x *exported) waiting(w *exportWriter, d exportDest, group string, g *exportedGroup, s sample) {
	records := s.v
	if g.unacked.at > 0 && s.at-g.unacked.at < 300_000 {
		records += g.unacked.v
	}
	records = math.Max(0, math.Round(records))
	aged := g.age.at > 0 && s.at-g.age.at < 600_000
	first := g.committed.at == 0
	prev := g.backlog
	g.backlog = sample{s.at, records}
	switch {
	case len(x.counts) > 0:
		x.position = math.Max(x.position, x.offset+x.published)
		g.committed = sample{s.at, math.Max(g.committed.v, x.position-records)}
	case aged:
		taken := 0.0
		if !first && s.at > prev.at {
			dt := float64(s.at-prev.at) / 1000
			if age := g.age.v; age > 0 && g.prevAge.at > 0 {
				taken = prev.v / math.Max(age, 1) * math.Max(0, dt-(g.age.v-g.prevAge.v))
			} else {
				taken = prev.v
			}
		}
		c := g.committed.v
		if first {
			c = math.Max(0, x.position-records)
		}
		c = math.Max(c+math.Round(taken), x.position-records)
		x.position = c + records
		g.committed = sample{s.at, c}
	default:
		return
	}
	w.put("weir_broker_end_offset", s.at, x.position, d, "", "0")
	w.put("weir_broker_synthetic", s.at, 1, d, "", "0")
	w.put("weir_broker_committed_offset", s.at, g.committed.v, d, group, "0")
	if aged && records > 0 {
		w.put("weir_broker_committed_timestamp_seconds", s.at, float64(s.at)/1000-g.age.v, d, group, "0")
	}
}
