package pipeline

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/ledger"
)

// latencyBook holds the latency of one pipeline over the last hour: sketches of windows that may still change, and of five minutes
// each for older ones. Bytes put out stand beside.
type latencyBook struct {
	paths map[flow.PathKey]*pathBook
	bytes map[string]map[int64]uint64 // stage → window
	rows  []answer.PathLatency        // of the last hour
	next  int64                       // when rows are made again, Unix milliseconds
}

type pathBook struct {
	recent map[int64]recentPath // by window
	older  map[int64]*flow.Path // by five minutes
	folded map[int64]struct{}   // windows that are in older
	now    *flow.Path           // of the last five minutes
}

type recentPath struct {
	*flow.Path
	changed int64 // Unix seconds
}

const (
	foldInto      = 300  // seconds
	maxRecent     = 300  // windows of a path kept apart for so long as usual
	foldSoon      = 60   // seconds without a change, where there are more
	maxPaths      = 500  // of a pipeline
	latencyEvery  = 5000 // milliseconds
	latencyMemory = 3600 // seconds
)

// observeLatency takes in what a reading of cells with their samples says.
func (t *tenant) observeLatency(p *pipe, now int64) {
	b := &p.latency
	if b.paths == nil {
		b.paths, b.bytes = map[flow.PathKey]*pathBook{}, map[string]map[int64]uint64{}
	}
	for _, w := range p.tally.Windows {
		if w.Start < now/1000-latencyMemory {
			continue
		}
		for k, path := range p.tally.Latencies(w, p.topo, t.cells.clocks) {
			pb := b.paths[k]
			if pb == nil {
				if len(b.paths) >= maxPaths {
					t.s.overflow.Inc()
					continue
				}
				pb = &pathBook{recent: map[int64]recentPath{}, older: map[int64]*flow.Path{}, folded: map[int64]struct{}{}}
				b.paths[k] = pb
			}
			pb.put(w.Start, path, now/1000)
		}
		for _, st := range p.topo.Stages {
			if n := p.tally.StageSum(st.Name, cell.Out, w).Bytes; n > 0 {
				if b.bytes[st.Name] == nil {
					b.bytes[st.Name] = map[int64]uint64{}
				}
				b.bytes[st.Name][w.Start] = n
			}
		}
	}
}

// refreshLatency makes the rows anew, also where nothing came: an hour passes.
func (p *pipe) refreshLatency(now int64) {
	b := &p.latency
	if now < b.next || len(b.paths)+len(b.bytes)+len(b.rows) == 0 {
		return
	}
	b.next = now + latencyEvery
	b.prune(now / 1000)
	b.rows = b.rows[:0:0]
	for k, pb := range b.paths {
		pb.now = pb.sum(now/1000 - foldInto)
		if row, ok := latencyRow(k, pb.sum(now/1000-latencyMemory)); ok {
			b.rows = append(b.rows, row)
		}
	}
	order := map[string]int{}
	for i, st := range p.topo.Stages {
		order[st.Name] = i
	}
	slices.SortFunc(b.rows, func(x, y answer.PathLatency) int {
		return cmp.Or(cmp.Compare(order[x.Stage], order[y.Stage]), cmp.Compare(x.Stage, y.Stage), cmp.Compare(x.Destination, y.Destination))
	})
}

// put takes the newest sketch of a window, which holds all that was counted in it.
func (pb *pathBook) put(window int64, p *flow.Path, now int64) {
	if _, over := pb.folded[window]; over {
		return
	}
	if old, ok := pb.recent[window]; !ok || p.Latency.Count != old.Latency.Count || p.Error != old.Error {
		pb.recent[window] = recentPath{p, now}
	}
}

func (b *latencyBook) prune(now int64) {
	for k, pb := range b.paths {
		for w := range pb.older {
			if w+foldInto < now-latencyMemory {
				delete(pb.older, w)
			}
		}
		for w := range pb.folded {
			if w < now-latencyMemory-foldInto {
				delete(pb.folded, w)
			}
		}
		pb.fold(now)
		if len(pb.recent)+len(pb.older) == 0 {
			delete(b.paths, k)
		}
	}
	for st, ws := range b.bytes {
		for w := range ws {
			if w < now-latencyMemory {
				delete(ws, w)
			}
		}
		if len(ws) == 0 {
			delete(b.bytes, st)
		}
	}
}

// fold moves windows that have not changed for long from recent to older.
func (pb *pathBook) fold(now int64) {
	quiet := int64(ledger.Followed)
	if len(pb.recent) > maxRecent {
		quiet = foldSoon
	}
	for w, p := range pb.recent {
		if now-p.changed < quiet {
			continue
		}
		at := w - w%foldInto
		if pb.older[at] == nil {
			pb.older[at] = &flow.Path{}
		}
		pb.older[at].Merge(p.Path)
		pb.folded[w] = struct{}{}
		delete(pb.recent, w)
	}
}

// sum merges what began at from, Unix seconds, or later.
func (pb *pathBook) sum(from int64) *flow.Path {
	out := &flow.Path{}
	for w, p := range pb.recent {
		if w >= from {
			out.Merge(p.Path)
		}
	}
	for w, p := range pb.older {
		if w >= from {
			out.Merge(p)
		}
	}
	return out
}

func latencyRow(k flow.PathKey, p *flow.Path) (answer.PathLatency, bool) {
	if p.Latency == nil || p.Latency.Count == 0 {
		return answer.PathLatency{}, false
	}
	return answer.PathLatency{
		Stage: k.Stage, Destination: k.Destination, Count: int64(min(p.Latency.Count, math.MaxInt64)),
		P50: p.Quantile(0.5), P90: p.Quantile(0.9), P95: p.Quantile(0.95), P99: p.Quantile(0.99), Max: p.Quantile(1),
		Clamped: int64(min(p.Latency.Clamped, math.MaxInt64)), Skew: p.Skew(),
	}, true
}

// pathLatency is how long records of the last hour took from their origin to a stage, or to all where stage is empty.
func (t *tenant) pathLatency(p *pipe, stage string) []answer.PathLatency {
	out := []answer.PathLatency{}
	for _, r := range p.latency.rows {
		if stage == "" || r.Stage == stage {
			out = append(out, r)
		}
	}
	return out
}

// fillFlow adds bytes and amplification of the last hour to a stage's row.
func (t *tenant) fillFlow(p *pipe, r *answer.StageRow) {
	for _, n := range p.latency.bytes[r.Stage] {
		r.Bytes += int64(min(n, math.MaxInt64/latencyMemory))
	}
	if r.In > 0 && r.Out > 0 {
		a := float64(r.Out) / float64(r.In)
		r.Amplify = &a
	}
}

const seriesLatency = "weir_pipeline_latency_seconds"

// appendLatency writes the percentiles of the last five minutes, for each stage as a whole.
func (t *tenant) appendLatency(b *batch) {
	for _, p := range t.pipes {
		for k, pb := range p.latency.paths {
			if k.Destination != "" || pb.now == nil || pb.now.Latency == nil {
				continue
			}
			for _, q := range [...]float64{0.5, 0.9, 0.95, 0.99} {
				v := pb.now.Quantile(q)
				b.add(seriesLatency, &v, "pipeline", p.id, "quantile", strconv.FormatFloat(q, 'g', -1, 64), "stage", k.Stage)
			}
		}
	}
}
