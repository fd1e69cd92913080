// Package counters reads the standard counters of known systems, as rules of query/flow/rules name them, and
// keeps what they say: rates, gauges and balances per stage, losses per minute, figures of brokers.
//
// Samples come from the store's querier; query/pipeline asks for stages, facts and verdicts (level L1) and takes
// the brokers' figures. There are no event windows here: a balance is a residual with a tolerance, and what cannot
// be told from records in flight is not a loss. Times are Unix milliseconds.
package counters

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
)

// Limits bound a book; what is beyond is counted by Refused.
type Limits struct {
	Series, Stages, Instances int
}

// DefaultLimits fit a tenant of some thousand agents.
func DefaultLimits() Limits { return Limits{Series: 500_000, Stages: 20_000, Instances: 100_000} }

// Times of reading, milliseconds.
const (
	discoverEvery = 60_000
	discoverSoon  = 3 * 60_000 // so long after the start at every reading
	firstSpan     = 2 * 60_000 // what the first reading takes in, for rates
	overlap       = 30_000     // samples may come a little late
	wideEvery     = 60_000
	wideSpan      = 5 * 60_000
	maxGap        = 5 * 60_000 // a longer silence makes a new baseline
)

// Book is the state of one tenant. It is not safe for concurrent use.
type Book struct {
	set    *rules.Set
	limits Limits
	// Broker takes the figures of brokers: values of gauges, increases of counters.
	Broker func(m *rules.Match, role rules.Role, at int64, v float64)

	names     []string
	series    map[uint64]*series
	pipelines map[string]*Pipeline
	instances map[instanceKey]*instance
	edges     map[edgeKey]*edge
	// transports are the halves of ways over brokers.
	transports map[edgeKey]*Transport
	stages     int
	nextNames  int64
	until      int64
	from       int64 // when the first reading was
	first      bool
	wide       int64
	pruned     int64

	refused, unnamed int
}

type instanceKey struct{ system, pipeline, instance string }

// instance is one process or agent: its series come from the same scrapes.
type instance struct {
	key             instanceKey
	first, last     int64
	interval        int64
	reset           int64 // when a counter last fell, or a gap ended
	through         map[string]*balance
	resets, gaps    int
	throughPipeline *Pipeline
}

// series is what is known of one series.
type series struct {
	match   rules.Match
	skip    bool
	inst    *instance
	stage   *stageInstance
	counter flow.Counter
	begun   bool
	raw     float64
	last    int64
}

// New makes a book for a set of rules.
func New(set *rules.Set, limits Limits) *Book {
	return &Book{
		set: set, limits: limits, series: map[uint64]*series{}, pipelines: map[string]*Pipeline{},
		instances: map[instanceKey]*instance{}, edges: map[edgeKey]*edge{},
	}
}

// Refused is how many series were left out because a bound was reached, and how many because a name they need was
// missing, since the last call.
func (b *Book) Refused() (bound, unnamed int) {
	bound, unnamed = b.refused, b.unnamed
	b.refused, b.unnamed = 0, 0
	return bound, unnamed
}

// Begin is the time from which the next Read wants samples.
func (b *Book) Begin(now int64) int64 {
	switch {
	case b.until == 0 || now < b.until: // the clock went back: look again at what is there
		return now - firstSpan
	case now-b.wide > wideEvery:
		return min(b.until-overlap, now-wideSpan)
	default:
		return b.until - overlap
	}
}

// Read takes in what is new. q must reach from Begin(now) to now.
func (b *Book) Read(ctx context.Context, q storage.Querier, now int64) error {
	b.first = b.until == 0
	if b.first {
		b.from = now
	}
	if now-b.wide > wideEvery || now < b.wide {
		b.wide = now
	}
	if now >= b.nextNames || now < b.until {
		if err := b.discover(ctx, q); err != nil {
			return err
		}
		b.nextNames = now + discoverEvery
		if now-b.from < discoverSoon { // at a start names appear one after the other
			b.nextNames = now
		}
	}
	for _, name := range b.names {
		if err := b.readName(ctx, q, name); err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
	}
	b.settle()
	if b.first { // what is there is the baseline
		for _, x := range b.balances() {
			x.rebase(x.queue)
		}
		b.first = false
	}
	b.until = now
	if now-b.pruned > wideEvery || now < b.pruned {
		b.pruned = now
		b.prune(now)
	}
	return nil
}

// discover finds the names that rules know, inputs and outputs first: what explains a difference comes after it.
func (b *Book) discover(ctx context.Context, q storage.Querier) error {
	all, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
	if err != nil {
		return fmt.Errorf("cannot list the names of series: %w", err)
	}
	b.names = b.names[:0]
	for _, n := range all {
		if b.set.Knows(n) {
			b.names = append(b.names, n)
		}
	}
	slices.SortFunc(b.names, func(x, y string) int {
		return cmp.Or(cmp.Compare(b.set.Rank(x), b.set.Rank(y)), cmp.Compare(x, y))
	})
	return nil
}

// floatSample is the kind of a plain sample in an iterator (chunkenc.ValFloat), whose package has its home in the engine.
const floatSample = 1

func (b *Book) readName(ctx context.Context, q storage.Querier, name string) error {
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	for set.Next() {
		one := set.At()
		s := b.seriesOf(name, one.Labels())
		if s == nil || s.skip {
			continue
		}
		it := one.Iterator(nil)
		for {
			kind := it.Next()
			if kind == 0 {
				break
			}
			if kind != floatSample {
				continue
			}
			at, v := it.At()
			if at <= s.last || value.IsStaleNaN(v) {
				continue
			}
			s.last = at
			b.take(s, at, v)
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}

func (b *Book) seriesOf(name string, ls labels.Labels) *series {
	h := ls.Hash()
	if s, ok := b.series[h]; ok {
		return s
	}
	if len(b.series) >= b.limits.Series {
		b.refused++
		return nil
	}
	s := &series{}
	b.series[h] = s
	m, ok, unnamed := b.set.Match(name, ls.Get)
	if !ok {
		s.skip = true
		if unnamed {
			b.unnamed++
		}
		return s
	}
	s.match = m
	if m.Rule.Role.Broker() {
		return s
	}
	k := instanceKey{m.Rule.System.Name, m.Pipeline, m.Instance}
	s.inst = b.instances[k]
	if s.inst == nil {
		if len(b.instances) >= b.limits.Instances {
			b.refused++
			s.skip = true
			return s
		}
		s.inst = &instance{key: k, interval: 15_000, through: map[string]*balance{}}
		b.instances[k] = s.inst
	}
	if s.stage = b.stageOf(&m, s.inst); s.stage == nil {
		b.refused++
		s.skip = true
	}
	return s
}

// breaks counts what makes balances begin anew.
func (i *instance) breaks() int { return i.resets + i.gaps }

// scraped follows the scrapes of an instance.
func (i *instance) scraped(at int64) {
	if i.first == 0 {
		i.first = at
	}
	if at <= i.last {
		return
	}
	if i.last > 0 {
		d := at - i.last
		if d > maxGap {
			i.reset, i.gaps = at, i.gaps+1
		} else {
			i.interval = min(max((3*i.interval+d)/4, 1000), maxGap)
		}
	}
	i.last = at
}

func (b *Book) take(s *series, at int64, raw float64) {
	v, ok := s.match.Rule.Value(raw)
	role := s.match.Rule.Role
	if role.Broker() {
		if !ok || b.Broker == nil {
			return
		}
		if role.Counter() {
			v = s.counter.Step(0, v)
		}
		b.Broker(&s.match, role, at, v)
		return
	}
	s.inst.scraped(at)
	s.stage.heard(at)
	if !ok {
		return
	}
	if !role.Counter() {
		s.stage.gauge(role, &s.match, at, v)
		return
	}
	if v < 0 || v > 1<<53 { // no counter
		return
	}
	if s.begun && v < s.raw {
		s.inst.reset, s.inst.resets = at, s.inst.resets+1
	}
	start := int64(0)
	if !s.begun && b.born(s, at, v) {
		start = 1
	}
	inc := s.counter.Step(start, v)
	s.begun, s.raw = true, v
	s.stage.increase(b, &s.match, role, at, inc)
}

// born says whether a series that appears while its instance is followed began at 0: clients make a series at its
// first increase. Inputs are not taken so, nor values larger than what flowed meanwhile: a loss must not be made up.
func (b *Book) born(s *series, at int64, v float64) bool {
	if s.match.Rule.Role == rules.In || s.inst.first == 0 || s.inst.first >= at-1000 {
		return false
	}
	return v <= s.stage.moved(at-4*s.inst.interval-s.match.Rule.Hold.Milliseconds())
}

// prune forgets what was not heard of for a day.
func (b *Book) prune(now int64) {
	const day = 24 * 3_600_000
	for h, s := range b.series {
		if now-s.last > day {
			delete(b.series, h)
		}
	}
	for k, i := range b.instances {
		if now-i.last > day {
			delete(b.instances, k)
		}
	}
	for name, p := range b.pipelines {
		for n, st := range p.Stages {
			for k, si := range st.instances {
				if now-si.at > day {
					delete(st.instances, k)
				}
			}
			if len(st.instances) == 0 {
				delete(p.Stages, n)
				b.stages--
			}
		}
		if len(p.Stages) == 0 {
			delete(b.pipelines, name)
		}
	}
	for k, t := range b.transports {
		if now-t.at > day {
			delete(b.transports, k)
		}
	}
	for k, e := range b.edges {
		e.prune(now)
		if len(e.windows) == 0 && b.transports[k] == nil && !e.used {
			delete(b.edges, k)
		}
	}
}

func (b *Book) balances() []*balance {
	var out []*balance
	for _, p := range b.pipelines {
		for _, st := range p.Stages {
			for _, si := range st.instances {
				if si.bal != nil {
					out = append(out, si.bal)
				}
			}
		}
	}
	for _, i := range b.instances {
		for _, x := range i.through {
			out = append(out, x)
		}
	}
	return out
}

// finite says whether a figure may be shown.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
