package counters

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
	"github.com/weirhq/weir/store"
)

// balance follows in = out + filtered + dropped + dead-lettered + held of one instance.
type balance struct {
	inst  *instance
	edge  *edge
	hold  int64
	quiet bool

	res                      flow.Residual
	in, out, left, dropped   float64 // since the last step; left: filtered and put aside
	taken                    meter   // what came in: what may still be inside
	lastIn, lastOut, lastTry int64
	queue                    point // held records, where they are counted
	held                     point
	low                      point // lowest held of the last ten minutes
	based                    int   // breaks of the instance when the residual began
	at                       int64 // newest scrape of the last step
	claimed                  float64
	claims                   []claim
	dirty                    bool
}

// claim is a part of a loss, told in a window.
type claim struct {
	window int64
	n      float64
}

// width of the windows in which losses by counters are told, seconds. They are windows of processing time.
const width = 60

// told is the window in which something found at a time is told. The minute in which this process began may
// already have been told by the one before.
func (b *Book) told(at int64) int64 {
	return windowOf(max(at, b.from+width*1000-1))
}

func windowOf(at int64) int64 { return at / 1000 / width * width }

func (x *balance) count(role rules.Role, at int64, inc float64) {
	switch role {
	case rules.In, rules.Added:
		x.in += inc
		x.taken.add(at, inc)
		if inc > 0 {
			x.lastIn = max(x.lastIn, at)
		}
	case rules.Out:
		x.out += inc
		if inc > 0 {
			x.lastOut = max(x.lastOut, at)
		}
	case rules.Filtered, rules.Dropped, rules.DLQ:
		if role == rules.Dropped {
			x.dropped += inc
		} else {
			x.left += inc
		}
		if inc > 0 {
			x.lastOut = max(x.lastOut, at)
		}
	case rules.Retried, rules.Failed:
		x.lastTry = max(x.lastTry, at)
		return
	default:
		return
	}
	x.dirty = true
}

// rebase begins anew: after a restart or a gap nobody knows what was inside.
func (x *balance) rebase(queue point) {
	x.res = flow.Residual{}
	x.in, x.out, x.left, x.dropped = 0, 0, 0, 0
	x.taken = meter{}
	x.claimed, x.claims = 0, nil
	x.queue, x.held, x.low = queue, point{}, point{}
	x.based, x.at = x.inst.breaks(), x.inst.last
	x.dirty = false
}

// step brings the residual up to the newest scrape. judge is false where it cannot be a loss whatever it is.
func (x *balance) step(b *Book, queue, held point, judge bool) {
	if x.inst.breaks() != x.based {
		if in := x.in; judge && in > 0 && !b.first {
			x.edge.unknown(b.told(x.inst.last), in)
		}
		x.rebase(queue)
		return
	}
	if !x.dirty {
		return
	}
	x.dirty = false
	t := x.inst.last
	grown := 0.0
	if queue.at > 0 && x.queue.at > 0 {
		grown = queue.v - x.queue.v
	}
	x.queue = queue
	if held.at > 0 && (x.low.at == 0 || held.v <= x.low.v || t-x.low.at > 600_000) {
		x.low = held
	}
	x.held = held
	tolerance := x.taken.since(t - x.hold - x.inst.interval)
	missing := x.res.Step(x.in, x.out+x.left+x.dropped, grown, tolerance)
	x.in, x.out, x.left, x.dropped = 0, 0, 0, 0
	from := x.at
	x.at = t
	if !judge {
		return
	}
	x.edge.judge(from, t)
	if high := x.res.Missing(); high < x.claimed { // what was missing came after all
		x.takeBack(x.claimed - high)
	}
	if missing <= x.claimed || !x.settled(t) {
		return
	}
	n := missing - x.claimed
	x.claimed = missing
	w := b.told(t)
	x.claims = append(x.claims, claim{w, n})
	if len(x.claims) > 1000 {
		x.claims = x.claims[500:]
	}
	x.edge.lose(w, n, confidence(missing+tolerance, tolerance))
}

// settled says whether what is missing cannot be on its way: nothing has moved for longer than a record may stay,
// or records flow out and nothing more is held than usual.
func (x *balance) settled(t int64) bool {
	i := x.inst.interval
	if x.held.v > 0 && x.held.v > x.low.v || t-x.lastTry < x.hold+i && x.lastTry > 0 {
		return false
	}
	rest := t-x.lastIn >= x.hold+2*i && t-x.lastOut >= 2*i && x.held.v <= 0
	if rest {
		return true
	}
	flowing := x.lastOut > 0 && t-x.lastOut <= 3*i
	if x.quiet {
		return x.held.at > 0 && flowing
	}
	return flowing
}

// takeBack takes losses back, the newest first.
func (x *balance) takeBack(n float64) {
	x.claimed = math.Max(0, x.claimed-n)
	for n > 0 && len(x.claims) > 0 {
		c := &x.claims[len(x.claims)-1]
		d := math.Min(n, c.n)
		x.edge.lose(c.window, -d, 0)
		c.n -= d
		n -= d
		if c.n <= 0 {
			x.claims = x.claims[:len(x.claims)-1]
		}
	}
}

// confidence of a residual, 0.6 at the tolerance to 0.9 at ten times of it.
func confidence(residual, tolerance float64) float64 {
	if tolerance <= 0 {
		return 0.9
	}
	return 0.6 + 0.3*math.Min(1, math.Max(0, math.Log10(residual/tolerance)))
}

// settle steps every balance that has news.
func (b *Book) settle() {
	for _, p := range b.pipelines {
		for _, st := range p.Stages {
			for _, si := range st.instances {
				if si.bal != nil {
					si.bal.step(b, si.gauges[rules.Queued], si.gauges[rules.Held], true)
				}
			}
		}
	}
	for _, i := range b.instances {
		for unit, x := range i.through {
			b.stepThrough(i, unit, x)
		}
	}
}

// stepThrough judges the way from the sources to the one sink of a system.
func (b *Book) stepThrough(i *instance, unit string, x *balance) {
	var sources, sinks []string
	var held point
	for name, st := range i.throughPipeline.Stages {
		si := st.instances[i.key.system+"\x00"+i.key.instance]
		if si == nil || si.unit != unit {
			continue
		}
		switch {
		case st.Kind == "source" && si.meters[rules.In] != nil:
			sources = append(sources, name)
		case st.Kind == "sink" && (si.meters[rules.Out] != nil || si.meters[rules.Dropped] != nil):
			sinks = append(sinks, name)
		}
		if g, ok := si.gauges[rules.Held]; ok {
			held = point{max(held.at, g.at), held.v + g.v}
		}
	}
	slices.Sort(sources)
	judge := len(sources) > 0 && len(sinks) == 1
	if judge {
		from := strings.Join(sources, ",")
		if len(from) > 1000 {
			from = from[:1000]
		}
		x.edge = b.edgeOf(edgeKey{pipeline: i.key.pipeline, from: from, to: sinks[0]})
		if i.breaks() == x.based {
			x.edge.flow(b.told(i.last), x)
		}
	}
	x.step(b, point{}, held, judge)
}

// edgeKey names a balance whose losses are told: of a stage (from is empty), or from stages to a stage.
type edgeKey struct{ pipeline, from, destination, group, to string }

// edge keeps the windows of a balance until they are told.
type edge struct {
	key     edgeKey
	windows map[int64]*window
	used    bool // a balance holds it
}

type window struct {
	up, down, filtered, dlq, explained float64
	dropped, lost, unknown             float64
	confidence                         float64
	reasons                            map[string]float64
	judged, touched, told              bool
}

func (b *Book) edgeOf(k edgeKey) *edge {
	e := b.edges[k]
	if e == nil {
		e = &edge{key: k, windows: map[int64]*window{}}
		b.edges[k] = e
	}
	return e
}

func (e *edge) at(w int64) *window {
	x := e.windows[w]
	if x == nil {
		x = &window{}
		e.windows[w] = x
	}
	x.touched = true
	return x
}

func (b *Book) count(e *edge, role rules.Role, reason string, at int64, inc float64, judged bool) {
	if inc == 0 || at <= b.from {
		return
	}
	w := e.at(b.told(at))
	switch role {
	case rules.In:
		w.up += inc
	case rules.Out:
		w.down += inc
	case rules.Filtered:
		w.filtered += inc
	case rules.DLQ:
		w.dlq += inc
	case rules.Dropped:
		w.dropped += inc
		w.judged = w.judged || !judged
		if w.reasons == nil {
			w.reasons = map[string]float64{}
		}
		if len(w.reasons) < 50 {
			w.reasons[reason] += inc
		}
	default: // no part of a balance
	}
}

func (e *edge) flow(win int64, x *balance) {
	if x.in+x.out+x.left+x.dropped == 0 {
		return
	}
	w := e.at(win)
	w.up += x.in
	w.down += x.out
	w.filtered += x.left
	w.explained += x.dropped
}

// judge marks the windows that a step covered.
func (e *edge) judge(from, to int64) {
	for w := windowOf(max(from, to-10*width*1000)); w <= windowOf(to); w += width {
		if x := e.windows[w]; x != nil {
			x.judged = true
		}
	}
}

func (e *edge) lose(win int64, n, confidence float64) {
	w := e.at(win)
	w.judged = true
	w.lost += n
	w.confidence = math.Max(w.confidence, confidence)
}

func (e *edge) unknown(win int64, n float64) {
	w := e.at(win)
	w.judged = true
	w.unknown += n
}

// followed is how long windows are kept for what may still be taken back, seconds.
const followed = 20 * 60

func (e *edge) prune(now int64) {
	for w := range e.windows {
		if w < now/1000-followed-width {
			delete(e.windows, w)
		}
	}
}

// late is how long after a window its last scrapes may come, milliseconds.
const late = 15_000

// Verdicts are the windows with news that are over, oldest first. A window in which nothing could be judged has none.
func (b *Book) Verdicts(now int64) []store.Verdict {
	var out []store.Verdict
	for _, e := range b.edges {
		for _, start := range slices.Sorted(maps.Keys(e.windows)) {
			w := e.windows[start]
			if !w.touched || (start+width)*1000+late > now {
				continue
			}
			w.touched = false
			if !w.judged || start*1000 < b.from || !w.told && w.up+w.down+w.dropped+w.lost+w.unknown == 0 {
				continue
			}
			w.told = true
			out = append(out, e.verdict(start, w, now))
		}
	}
	return out
}

func whole(v float64) int64 { return int64(math.Round(math.Min(math.Max(v, 0), 1<<53))) }

func (e *edge) verdict(start int64, w *window, now int64) store.Verdict {
	v := store.Verdict{
		VerdictKey: store.VerdictKey{Pipeline: e.key.pipeline, Kind: store.EdgeBalance, From: e.key.to, To: e.key.to, Window: start, Width: width},
		State:      flow.OK, Settled: true, Level: flow.L1, Confidence: 0.6, SettledAt: now, UpdatedAt: now,
		Up: whole(w.up), Down: whole(w.down), Filtered: whole(w.filtered), DLQ: whole(w.dlq), Dropped: whole(w.dropped),
		Explained: whole(w.dropped + w.explained), Lost: whole(w.dropped + w.lost), Epsilon: whole(w.unknown),
	}
	v.Delta = v.Lost
	class := "dropped in stage"
	if e.key.from != "" || e.key.destination != "" {
		v.Kind, v.From, v.Destination, v.Group = store.EdgeTransport, e.key.from, e.key.destination, e.key.group
		class = "lost in transport"
	}
	reason, most := "", 0.0
	for _, r := range slices.Sorted(maps.Keys(w.reasons)) {
		if n := w.reasons[r]; n > most {
			reason, most = r, n
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s says it gave up %s records: %s.", e.key.to, flow.Count(whole(w.reasons[r])), r))
	}
	switch {
	case v.Lost > 0:
		v.State, v.Class, v.Confidence = flow.ProbableLoss, class, 0.9
		if lost := whole(w.lost); lost > 0 {
			v.Confidence = w.confidence
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s records more went in than came out, and no counter accounts for them.", flow.Count(lost)))
		}
		if w.dropped > w.lost {
			v.Class = reason
		}
	case v.Epsilon > 0:
		v.State, v.Class, v.Confidence = flow.Unknown, "counters began anew", 0.5
		v.Reasons = append(v.Reasons, "A counter began anew or was not scraped; what was inside then is not known.")
	}
	return v
}
