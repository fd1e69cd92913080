package flow

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Settlement is everything needed to judge the windows of one pipeline (3.3).
type Settlement struct {
	Now      int64
	From     int64 // windows that start before this (Unix seconds) only help to judge the others
	Tally    *Tally
	Topology *Topology
	Audit    *Audit
	Queues   map[string]*Queue // by destination; none = no broker evidence
	Barriers map[BarrierKey]store.Barrier
	Changes  *Changes
	Rules    Rules
	Ratios   map[string]Ratio                                  // declared or learned; inferred where missing
	Prior    func(store.VerdictKey) (store.Verdict, bool)      // what was said before; nil = nothing
	Known    func(store.VerdictKey) (first int64, ok bool)     // the oldest window in which the edge was settled; nil = not known
	Lateness func(Edge) time.Duration                          // learned; nil = none
	Latency  func(destination string) time.Duration            // largest usual latency of a hop without offsets; nil = the cap
	Findings func(destination, group string, w Window) Finding // what offset rules found; nil = nothing
	// Jumped counts records of a window that a group passed over quickly; they may have been skipped, or read fast, up to blur of them in any case. Asked only where as many may be missing. nil = not known.
	Jumped   func(destination, group string, w Window) (n, blur int64)
	KeepsIDs map[string]bool // by stage, where people said so; otherwise it is learned
	// Agreed is the first window of an edge in which nearly all that was put in was counted as taken, by what was said before. nil = always.
	Agreed func(store.VerdictKey) (first int64, ok bool)
	// Began is the first window of a port, Unix seconds, where it was seen to begin; 0 = before anybody looked. nil = nobody remembers.
	Began func(Port) (first int64, ok bool)
	// Kept is the first window of a stage from which on it put out what it took in, by what was said before. Until then nobody knows of a
	// stage whose ratio is not declared whether it is meant to. nil = always.
	Kept func(store.VerdictKey) (first int64, ok bool)
	// ReadsSome says whether a group reads only some of a destination's records, by the broker. nil = none does.
	ReadsSome func(destination, group string) bool
	// Counting tells how many instances of a stage counted around a window and how many people expect; want 0 = nobody said. nil = nobody said.
	Counting func(stage string, w Window) (have, want int)
	// FromSpans are the stages counted from spans. Joined says which edges joined spans judge, which know more.
	FromSpans map[string]bool
	Joined    func(Edge) bool
}

// Finding is what the offset rules found for a group on a destination while a window was open.
type Finding struct {
	Retention, Skipped, Truncated, Redelivered int64
	// Discarded is how many records the broker itself says that it gave up since the window began, of any window, and
	// Discard why most of them.
	Discarded int64
	Discard   string
}

// Settled is the result: new barriers to store, and one verdict per edge, stage and window.
type Settled struct {
	Barriers []store.Barrier
	Verdicts []store.Verdict
}

// done says by when nodes had to have reported, and whether that has come to pass.
type done struct {
	at int64 // far = not known yet
	ok bool
}

type settler struct {
	*Settlement
	rules  Rules
	w      Window
	stages map[string]done
	passes map[Input]done
	out    Settled
	// counters caches the nodes of each stage over all windows.
	counters map[string][]contributor
}

// Settle judges every window of a pipeline.
func Settle(in Settlement) Settled {
	s := &settler{Settlement: &in, rules: in.Rules.normal(), counters: map[string][]contributor{}}
	if in.Barriers == nil {
		s.Barriers = map[BarrierKey]store.Barrier{}
	}
	views := s.views()
	for _, w := range in.Tally.Windows {
		if w.Start < in.From || w.startMS() > in.Now {
			continue
		}
		s.w, s.stages, s.passes = w, map[string]done{}, map[Input]done{}
		for i := range views {
			v := &views[i]
			all := v.edge.From
			v.edge.From = s.writers(*v)
			s.judge(v)
			v.edge.From = all
		}
	}
	return s.out
}

// writers are those who wrote into an edge by the end of the window. The balance of a window keeps its name when another one begins
// later: under a new name its loss would be told a second time.
func (s *settler) writers(v view) []string {
	all := v.edge.From
	if v.kind != store.EdgeTransport || len(all) < 2 || s.Began == nil || s.Prior == nil {
		return all
	}
	if _, ok := s.Prior(v.edge.Key(s.Tally.Pipeline, s.w)); ok {
		return all
	}
	var there, told []string // by what is remembered; by what is read now
	for i, from := range all {
		if first, ok := s.Began(v.up[i]); !ok || first < s.w.End() {
			there = append(there, from)
		}
		if s.Tally.first(v.up[i:i+1]) < s.w.End() {
			told = append(told, from)
		}
	}
	if len(there) > 0 && len(there) < len(all) {
		return there
	}
	if len(told) > 0 && len(told) < len(all) { // before a restart it may have been told so
		v.edge.From = told
		if _, ok := s.Prior(v.edge.Key(s.Tally.Pipeline, s.w)); ok {
			return told
		}
	}
	return all
}

// view is one balance with what does not change from window to window.
type view struct {
	kind       store.EdgeKind
	edge       Edge
	stage      Stage
	up, down   []Port
	upC, downC []contributor
	firstUp    int64
	firstDown  int64
	ratio      Ratio
	idsKept    bool
	newIDs     bool // people say that the stage gives new ids
	guessed    bool // its ratio is neither declared nor learned
}

func (s *settler) views() []view {
	var out []view
	for _, e := range s.Topology.Edges {
		v := view{kind: store.EdgeTransport, edge: e}
		for _, from := range e.From {
			v.up = append(v.up, Port{Stage: from, Dir: cell.Out, Destination: e.Destination})
		}
		v.down = []Port{{Stage: e.To, Dir: cell.In, Destination: e.Destination, Group: e.Group}}
		out = append(out, v)
	}
	for _, st := range s.Topology.Stages {
		v := view{kind: store.EdgeBalance, stage: st}
		v.up = s.Tally.Ports(st.Name, cell.In)
		v.down = s.Tally.Ports(st.Name, cell.Out)
		covers := s.Tally.Ports(st.Name, cell.Covers)
		known := false
		if s.Known != nil {
			_, known = s.Known(BalanceKey(s.Tally.Pipeline, st.Name, Window{}))
		}
		if len(v.up) == 0 || len(v.down)+len(covers) == 0 && !known {
			continue
		}
		v.ratio = s.Tally.InferRatio(st)
		if r, ok := s.Ratios[st.Name]; ok {
			v.ratio = r
		} else {
			v.guessed = v.ratio.Kind == RatioMap
		}
		kept, said := s.KeepsIDs[st.Name]
		v.idsKept, v.newIDs = kept, said && !kept
		v.down = append(v.down, covers...)
		out = append(out, v)
	}
	for i := range out {
		v := &out[i]
		v.upC, v.downC = s.Tally.contributors(v.up), s.Tally.contributors(v.down)
		v.firstUp, v.firstDown = s.Tally.first(v.up), s.Tally.first(v.down)
	}
	return out
}

// First is the oldest window in which a port counted anything, Unix seconds; the largest number for none.
func (t *Tally) First(p Port) int64 { return t.first([]Port{p}) }

// first is the oldest window in which any of the ports counted.
func (t *Tally) first(ports []Port) int64 {
	out := int64(math.MaxInt64)
	for _, p := range ports {
		for start, s := range t.ports[p] {
			if s.N > 0 {
				out = min(out, start)
			}
		}
	}
	return out
}

// InferRatio finds the balance a stage keeps from what it counts: covers where it declares them,
// fan-out where every destination gets about every record, learned where it puts out much more than it takes.
func (t *Tally) InferRatio(st Stage) Ratio {
	if len(t.Ports(st.Name, cell.Covers)) > 0 {
		return Ratio{Kind: RatioCovers}
	}
	var in, out float64
	for _, w := range t.Windows {
		left := float64(t.StageSum(st.Name, cell.In, w).N) - float64(t.StageSum(st.Name, cell.Filtered, w).N) -
			float64(t.StageSum(st.Name, cell.DLQ, w).N) - float64(t.StageSum(st.Name, cell.Dropped, w).N)
		in += left
		out += float64(t.StageSum(st.Name, cell.Out, w).N)
	}
	if in <= 0 {
		return Ratio{}
	}
	per, k := out/in, len(st.Out)
	switch {
	case k > 1 && math.Abs(per-float64(k)) < math.Abs(per-1):
		return Ratio{Kind: RatioFanout, K: k}
	case k <= 1 && per > 1.5:
		return Ratio{Kind: RatioLearned}
	default:
		return Ratio{}
	}
}

// MinLearn is the number of settled windows a ratio is learned from.
const MinLearn = 60

// LearnRatio learns out/in from settled windows: the median, and a band of four times the median
// absolute deviation, at least half a percent of the median. Median 0 while there are too few.
func LearnRatio(ratios []float64) Ratio {
	r := Ratio{Kind: RatioLearned}
	if len(ratios) < MinLearn {
		return r
	}
	xs := slices.Clone(ratios)
	slices.Sort(xs)
	r.Median = median(xs)
	for i := range xs {
		xs[i] = math.Abs(xs[i] - r.Median)
	}
	slices.Sort(xs)
	r.Band = math.Max(4*median(xs), r.Median/200)
	return r
}

func (s *settler) judge(v *view) {
	spans := s.spansIn(v)
	if spans && (v.kind == store.EdgeBalance || s.Joined != nil && s.Joined(v.edge)) {
		return // what a stage leaves out on purpose spans do not say
	}
	var up, down Sum
	for _, p := range v.up {
		up.merge(s.Tally.At(p, s.w))
	}
	covers := Sum{}
	for _, p := range v.down {
		if p.Dir == cell.Covers {
			covers.merge(s.Tally.At(p, s.w))
		} else {
			down.merge(s.Tally.At(p, s.w))
		}
	}
	ev := Evidence{Kind: v.kind, Up: up.Counts, Down: down.Counts, Covers: num(covers.N), Ratio: v.ratio, EndDelta: -1, InFlight: -1, IDsKept: v.idsKept}
	var key store.VerdictKey
	if v.kind == store.EdgeTransport {
		key = v.edge.Key(s.Tally.Pipeline, s.w)
		if up.N == 0 && down.N == 0 {
			return
		}
	} else {
		key = BalanceKey(s.Tally.Pipeline, v.stage.Name, s.w)
		filtered, dlq, dropped := s.side(v.stage.Name, cell.Filtered), s.side(v.stage.Name, cell.DLQ), s.side(v.stage.Name, cell.Dropped)
		ev.Filtered, ev.DLQ, ev.Dropped, ev.Reasons = num(filtered.N), num(dlq.N), num(dropped.N), dropped.Reasons
		if up.N == 0 && down.N == 0 && filtered.N == 0 && dlq.N == 0 && dropped.N == 0 {
			return
		}
	}
	var prior store.Verdict
	var before bool
	if s.Prior != nil {
		prior, before = s.Prior(key)
	}
	// Telemetry that was lost stays lost, also when nobody remembers it.
	ended := s.killedOf(v)
	if before && prior.Settled && ended.standing(&prior, s.rules.Margin.Milliseconds()) && (prior.State != Unknown || prior.Class == ClassLost || s.bordering(&prior)) && prior.Up == num(up.N) && prior.Down == num(down.N) &&
		prior.Filtered == ev.Filtered && prior.DLQ == ev.DLQ && prior.Dropped == ev.Dropped {
		s.out.Verdicts = append(s.out.Verdicts, prior)
		v.idsKept = !v.newIDs && (v.idsKept || prior.Level == L3)
		return
	}
	needUp, needDown := s.readiness(v, &ev)
	s.evidence(v, &ev, needUp, needDown)
	ev.Beginning, ev.Killed = s.beginning(v, key), ended
	ev.UnseenUp, ev.UnseenDown = add(ev.UnseenUp, ended.up), add(ev.UnseenDown, ended.down)
	if ev.Settled {
		ev.IDs = s.sampled(v, &ev, &up, &down)
	}
	verdict := Judge(ev)
	if spans {
		capSpans(&verdict)
	}
	verdict.VerdictKey = key
	verdict.UpdatedAt = s.Now
	if verdict.Settled {
		verdict.SettledAt = s.Now
	}
	if before {
		verdict.Revision = prior.Revision
		if prior.State != verdict.State || prior.Lost != verdict.Lost {
			verdict.Revision++
		}
		if prior.Settled && verdict.Settled {
			verdict.SettledAt = prior.SettledAt
		}
	}
	if v.kind == store.EdgeBalance && verdict.Settled && verdict.Level == L3 && !v.newIDs {
		v.idsKept = true
	}
	s.branches(v, &ev, &verdict)
	s.out.Verdicts = append(s.out.Verdicts, verdict)
}

// bordering says of a verdict that rests on the windows around that some of those are not known any more: what was said
// when they were stands.
func (s *settler) bordering(prior *store.Verdict) bool {
	switch prior.Class {
	case "uninstrumented producer", "interrupted", "redelivered":
		return s.w.Start < add(s.Tally.Windows[0].Start, 3*s.w.Width)
	}
	return false
}

// beginning says whether one side may have begun to count within the window: nothing older is known of it.
func (s *settler) beginning(v *view, key store.VerdictKey) bool {
	if s.Known != nil {
		if first, ok := s.Known(key); ok && first < s.w.Start {
			return false
		}
	}
	return v.firstUp >= s.w.Start || v.firstDown >= s.w.Start
}

func (s *settler) side(stage string, d cell.Dir) Sum { return s.Tally.StageSum(stage, d, s.w) }

// readiness finds by when both sides had to have reported and whether the window is settled. Where
// counts still changed after the usual time, records came later than expected, and all nodes must
// have reported past that as well.
func (s *settler) readiness(v *view, ev *Evidence) (needUp, needDown int64) {
	changed := int64(0)
	for _, ps := range [2][]Port{v.up, v.down} {
		for _, p := range ps {
			changed = max(changed, s.Changes.At(p, s.w))
		}
	}
	if v.kind == store.EdgeBalance {
		d := s.stageDone(v.stage.Name)
		needDown = max(d.at, changed)
		wait := d.at
		if d.at < far && s.behind(v) {
			wait = add(d.at, s.rules.MaxLatency.Milliseconds())
		}
		ev.InTime = d.at < far && s.Now >= d.at
		ev.Settled = d.ok && s.Now >= wait && s.heard(v.upC, needDown) && s.heard(v.downC, needDown) && s.quiet(v.up) && s.quiet(v.down)
		return needDown, needDown
	}
	pass := s.passed(Input{v.edge.Destination, v.edge.Group})
	needUp, needDown = max(s.wrote(v.edge.Destination).at, changed), max(s.plusMargin(pass.at), changed)
	wait := needDown
	if s.Lateness != nil && pass.at < far {
		late := min(max(s.Lateness(v.edge), 0), 24*time.Hour)
		wait = max(wait, s.w.endMS()+2*late.Milliseconds())
	}
	if pass.at < far && s.behind(v) { // it may stand still: wait as long as we may
		wait = max(wait, add(s.wrote(v.edge.Destination).at, s.rules.MaxLatency.Milliseconds()))
	}
	ev.InTime = pass.ok && s.Now >= s.graceEnd()
	ev.Settled = pass.ok && s.Now >= wait && s.heard(v.upC, needUp) && s.heard(v.downC, needDown) && s.quiet(v.up) && s.quiet(v.down)
	return needUp, needDown
}

func (s *settler) evidence(v *view, ev *Evidence, needUp, needDown int64) {
	if total := add(s.Tally.NoTime, s.Tally.Timed); total > 0 {
		ev.NoTime = float64(s.Tally.NoTime) / float64(total)
	}
	for side, cs := range [2][]contributor{v.upC, v.downC} {
		need := needUp
		if side == 1 {
			need = needDown
		}
		for _, d := range s.Audit.doubts(s.w, cs, need, s.rules.Margin.Milliseconds(), s.Now) {
			if side == 0 {
				ev.UnseenUp = add(ev.UnseenUp, max(d.bound, 0))
			} else {
				ev.UnseenDown = add(ev.UnseenDown, max(d.bound, 0))
			}
			ev.Doubts = append(ev.Doubts, Doubt{
				Hard: d.hard, Drops: d.gap.Kind == GapDrops, Bound: d.bound,
				Class: gapClass(d.gap.Kind), Sentence: d.gap.Sentence(s.Now),
			})
		}
	}
	if s.behind(v) {
		who := v.edge.To
		if v.kind == store.EdgeBalance {
			who = v.stage.Name
		}
		ev.Doubts = append(ev.Doubts, Doubt{
			Class: "reader behind", Bound: max(sub(num(ev.Up.N), num(ev.Down.N)), 0),
			Sentence: who + " has not dealt with younger records since, and no offsets tell what waits.",
		})
	}
	ev.Doubts = uniqueDoubts(append(ev.Doubts, s.absent(v, ev)...))
	if s.Findings != nil {
		ins := []Input{{v.edge.Destination, v.edge.Group}}
		if v.kind == store.EdgeBalance {
			ins = v.stage.In
		}
		for _, in := range ins {
			f := s.Findings(in.Destination, in.Group, s.w)
			ev.Redelivered = add(ev.Redelivered, max(f.Redelivered, 0))
			if v.kind == store.EdgeTransport {
				ev.Discarded, ev.Discard = f.Discarded, f.Discard
				ev.Retention, ev.Skipped, ev.Truncated = add(ev.Retention, f.Retention), add(ev.Skipped, f.Skipped), add(ev.Truncated, f.Truncated)
			} else {
				ev.Interrupted = sum(ev.Interrupted, max(f.Retention, 0), max(f.Skipped, 0), max(f.Truncated, 0))
			}
		}
	}
	ev.Doubts = append(ev.Doubts, s.disagrees(v, ev)...)
	ev.Doubts = append(ev.Doubts, s.unlike(v, ev)...)
	if v.kind == store.EdgeTransport && s.Jumped != nil && ev.Settled && ev.Up.N > ev.Down.N && ev.Retention+ev.Skipped+ev.Truncated == 0 {
		ev.Jumped, ev.JumpBlur = s.Jumped(v.edge.Destination, v.edge.Group, s.w)
		ev.SkipGoesOn = ev.JumpBlur > 0 && s.skippedBefore(v.edge)
	}
	if v.kind == store.EdgeTransport {
		ev.EndDelta, ev.EndError = s.endDelta(v.edge.Destination)
		ev.Strangers = ev.Settled && ev.Down.N > ev.Up.N && s.strangers(v.edge)
	} else {
		again, hidden := s.takenAgain(v.stage)
		ev.Redelivered, ev.Interrupted = max(ev.Redelivered, again), max(ev.Interrupted, hidden)
	}
}

// skippedBefore says whether the window before was skipped, in part or whole.
func (s *settler) skippedBefore(e Edge) bool {
	key := e.Key(s.Tally.Pipeline, Window{s.w.Start - s.w.Width, s.w.Width})
	for _, v := range slices.Backward(s.out.Verdicts) {
		if v.VerdictKey == key {
			return v.State == Skipped
		}
	}
	if s.Prior == nil {
		return false
	}
	v, ok := s.Prior(key)
	return ok && v.State == Skipped
}

// absent are the doubts where fewer instances count than people expect: what the others do is not in the counts. Of an
// edge an exact balance still stands; inside a stage both sides lack the same instance, so it proves nothing.
func (s *settler) absent(v *view, ev *Evidence) []Doubt {
	if s.Counting == nil {
		return nil
	}
	stages := append(slices.Clone(v.edge.From), v.edge.To)
	if v.kind == store.EdgeBalance {
		stages = []string{v.stage.Name}
	}
	var out []Doubt
	for _, name := range stages {
		have, want := s.Counting(name, s.w)
		if want <= 0 || have >= want {
			continue
		}
		out = append(out, Doubt{
			Hard: v.kind == store.EdgeBalance, Bound: whole(float64(max(ev.Up.N, ev.Down.N)) / float64(max(have, 1)) * float64(want-have)),
			Class: "instances missing", Sentence: fmt.Sprintf("%d of %d expected instances of %s count.", have, want, name),
		})
	}
	return out
}

// unlike is the doubt of a balance that is not meant to be even, as far as anybody knows: of a group that reads only some records,
// and of a stage that never put out what it takes in and whose ratio nobody declared.
func (s *settler) unlike(v *view, ev *Evidence) []Doubt {
	if v.kind == store.EdgeTransport {
		if s.ReadsSome == nil || !s.ReadsSome(v.edge.Destination, v.edge.Group) {
			return nil
		}
		return []Doubt{{
			Bound: max(sub(num(ev.Up.N), num(ev.Down.N)), 0), Class: "reads some records",
			Sentence: v.edge.Group + " reads only some of the records of " + v.edge.Destination + ": what it leaves out cannot be told from what is lost.",
		}}
	}
	if !v.guessed || s.Kept == nil {
		return nil
	}
	if first, ok := s.Kept(BalanceKey(s.Tally.Pipeline, v.stage.Name, s.w)); ok && first < s.w.Start {
		return nil
	}
	off := sub(sub(num(ev.Up.N), sum(ev.Filtered, ev.DLQ, ev.Dropped)), num(ev.Down.N))
	return []Doubt{{
		Bound: max(off, negate(off)), Class: "ratio not declared",
		Sentence: "Nobody saw yet that " + v.stage.Name + " puts out what it takes in. Declare how much it puts out per record, or let it count what it filters, and it is judged.",
	}}
}

// disagrees is the doubt of an edge of which never nearly all was counted as taken: instances are instrumented one after
// another, and what the others take looks lost. Where people said how many there are, and all of them count, there is none.
func (s *settler) disagrees(v *view, ev *Evidence) []Doubt {
	missing := sub(num(ev.Up.N), num(ev.Down.N))
	if v.kind != store.EdgeTransport || s.Agreed == nil || missing <= sum(ev.Retention, ev.Skipped, ev.Truncated) {
		return nil // or offsets show where it is
	}
	if first, ok := s.Agreed(v.edge.Key(s.Tally.Pipeline, s.w)); ok && first < s.w.Start {
		return nil
	}
	if s.Counting != nil {
		if have, want := s.Counting(v.edge.To, s.w); want > 0 && have >= want {
			return nil
		}
	}
	return []Doubt{{
		Bound: missing, Class: ClassPartly,
		Sentence: "What " + v.edge.To + " takes was never counted in full yet: if not all of its instances count, the others take the rest. Declare how many there are, and it is judged.",
	}}
}

// takenAgain is how many more records of the window a stage took in than were put out for it: an application that
// crashed reads again what it had not committed, and no offset shows that. What it takes too many of in the windows
// around as well is from a producer that nobody counts. hidden is how many are missing on the way in instead, beyond what
// is missing in the windows around as well: behind them as many may have been taken again unseen.
func (s *settler) takenAgain(st Stage) (n, hidden int64) {
	for _, in := range st.In {
		usualMore, usualLess := int64(math.MaxInt64), int64(math.MaxInt64)
		for i := int64(-3); i <= 3; i++ {
			w := Window{add(s.w.Start, i*s.w.Width), s.w.Width}
			if more, ok := s.more(st.Name, in, w); ok && i != 0 {
				usualMore, usualLess = min(usualMore, max(more, 0)), min(usualLess, max(negate(more), 0))
			}
		}
		more, ok := s.more(st.Name, in, s.w)
		if !ok {
			continue
		}
		if usualMore == math.MaxInt64 {
			usualMore, usualLess = 0, 0
		}
		n = add(n, max(sub(more, usualMore), 0))
		hidden = add(hidden, max(sub(negate(more), usualLess), 0))
	}
	return n, hidden
}

// strangers says whether in one of the windows around, or in all of them together, a twentieth more than was put in
// was taken from an edge, redeliveries aside: each of them can explain but one surplus.
func (s *settler) strangers(e Edge) bool {
	var up, over, again int64
	for i := int64(-3); i <= 3; i++ {
		w := Window{add(s.w.Start, i*s.w.Width), s.w.Width}
		if s.Now < add(w.endMS(), s.rules.Grace.Milliseconds()) {
			break
		}
		more, ok := s.more(e.To, Input{e.Destination, e.Group}, w)
		if !ok {
			continue
		}
		n, known := num(s.Tally.At(Port{e.To, cell.In, e.Destination, e.Group}, w).N)-more, int64(0)
		if s.Findings != nil {
			known = max(s.Findings(e.Destination, e.Group, w).Redelivered, 0)
		}
		if sub(more, known) > n/20 {
			return true
		}
		up, over, again = add(up, n), add(over, max(more, 0)), max(again, known)
	}
	return sub(over, again) > up/20
}

// more is how many more records of a window a stage took from an input than were put in; ok is false when nobody
// counted any there.
func (s *settler) more(stage string, in Input, w Window) (n int64, ok bool) {
	var up uint64
	for _, o := range s.Topology.Stages {
		up += s.Tally.At(Port{o.Name, cell.Out, in.Destination, ""}, w).N
	}
	return sub(num(s.Tally.At(Port{stage, cell.In, in.Destination, in.Group}, w).N), num(up)), up > 0
}

func gapClass(k GapKind) string {
	switch k {
	case GapSilent:
		return "auditor silent"
	case GapDrops:
		return "audit datagrams dropped"
	case GapAway, GapClosed:
		return "auditor stopped"
	case GapLost:
		return ClassLost
	default:
		return "auditor restarted"
	}
}

// uniqueDoubts keeps the larger bound where both sides have the same gap: a record missing on both sides is one record.
func uniqueDoubts(ds []Doubt) []Doubt {
	var out []Doubt
	for _, d := range ds {
		i := slices.IndexFunc(out, func(o Doubt) bool { return o.Sentence == d.Sentence })
		if i < 0 {
			out = append(out, d)
			continue
		}
		out[i].Bound = max(out[i].Bound, d.Bound)
		out[i].Hard = out[i].Hard || d.Hard
	}
	return out
}

// branches adds which destinations of a fan-out lack records.
func (s *settler) branches(v *view, ev *Evidence, out *store.Verdict) {
	if ev.Ratio.Kind != RatioFanout || v.kind != store.EdgeBalance || out.Lost == 0 {
		return
	}
	left := sub(out.Up, sum(out.Filtered, out.DLQ, out.Dropped))
	for _, p := range v.down {
		if d := sub(left, num(s.Tally.At(p, s.w).N)); d > 0 && left > 0 {
			out.Reasons = append(out.Reasons, p.Destination+" lacks "+Count(d)+" ("+Percent(float64(d)/float64(left))+").")
		}
	}
}
