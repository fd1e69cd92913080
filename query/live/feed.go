package live

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// payload is what one step of a feed says, before it is addressed to a subscription.
type payload struct {
	binary bool
	body   []byte // JSON data, or a frame whose id and sequence are still zero
}

// evaluator makes the payloads of one topic. It is used by one goroutine at a time.
type evaluator interface {
	// step evaluates the topic; delta is nil when nothing changed since the last step.
	step(ctx context.Context, now time.Time) (delta *payload, err error)
	// snapshot is the whole state as of the last step, nil before there was one.
	snapshot(ctx context.Context) (*payload, error)
}

// feed evaluates one topic once per step for all its subscribers.
type feed struct {
	key   string
	every time.Duration
	eval  evaluator
	stop  context.CancelFunc

	// turn guards the evaluator and the state of the subscriptions; it is held while evaluating.
	turn sync.Mutex
	err  string

	mu   sync.Mutex // guards subs only, never held for long
	subs map[*subscription]struct{}
}

func (f *feed) readers() []*subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*subscription, 0, len(f.subs))
	for s := range f.subs {
		out = append(out, s)
	}
	return out
}

func (f *feed) run(ctx context.Context) {
	f.tick(ctx)
	t := time.NewTimer(untilNext(time.Now(), f.every))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.tick(ctx)
			t.Reset(untilNext(time.Now(), f.every))
		}
	}
}

// settle is how long after a full step the newest values are asked for: collectors flush on the
// step and need some time to deliver.
const settle = 250 * time.Millisecond

func untilNext(now time.Time, every time.Duration) time.Duration {
	next := now.Add(-settle).Truncate(every).Add(every).Add(settle)
	return next.Sub(now)
}

func (f *feed) tick(ctx context.Context) {
	f.turn.Lock()
	defer f.turn.Unlock()
	delta, err := f.eval.step(ctx, time.Now())
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		// Said once per subscriber and kind of error; the next good step clears it.
		if f.err != err.Error() {
			f.err = err.Error()
			for _, s := range f.readers() {
				s.sendError(f.err)
			}
		}
		return
	}
	f.err = ""
	var snap *payload
	for _, s := range f.readers() {
		if s.started && !s.gapped {
			if delta != nil && !s.send("delta", delta) {
				s.gapped = true
				s.conn.hub.gaps.Inc()
			}
			continue
		}
		if snap == nil {
			if snap, err = f.eval.snapshot(ctx); err != nil || snap == nil {
				return
			}
		}
		f.start(s, snap)
	}
}

func (f *feed) start(s *subscription, snap *payload) {
	if s.gapped && !s.send("gap", nil) {
		return
	}
	if s.send("snapshot", snap) {
		s.started, s.gapped = true, false
	}
}

// greet brings a new reader up to date at once instead of at the next step.
func (f *feed) greet(ctx context.Context, s *subscription) {
	f.turn.Lock()
	defer f.turn.Unlock()
	if s.started {
		return
	}
	if f.err != "" {
		s.sendError(f.err)
		return
	}
	if snap, err := f.eval.snapshot(ctx); err == nil && snap != nil {
		f.start(s, snap)
	}
}

// answerEval compares whole JSON answers.
type answerEval struct {
	ask  func(context.Context) (any, error)
	last any
}

func (e *answerEval) step(ctx context.Context, _ time.Time) (*payload, error) {
	v, err := e.ask(ctx)
	if err != nil {
		return nil, err
	}
	now, err := tree(v)
	if err != nil {
		return nil, err
	}
	before := e.last
	e.last = now
	if before == nil {
		return nil, nil //nolint:nilnil // the first step has no delta and is no error
	}
	patch, changed := diff(before, now)
	if !changed {
		return nil, nil //nolint:nilnil // nothing changed
	}
	b, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	return &payload{body: b}, nil
}

func (e *answerEval) snapshot(context.Context) (*payload, error) {
	if e.last == nil {
		return nil, nil //nolint:nilnil // not evaluated yet
	}
	b, err := json.Marshal(e.last)
	if err != nil {
		return nil, err
	}
	return &payload{body: b}, nil
}

// queryEval follows a PromQL expression: a range for the snapshot, then the newest step only.
type queryEval struct {
	engine interface {
		Instant(ctx context.Context, expr string, ts time.Time) (promql.Vector, error)
		Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error)
	}
	expr         string
	window, each time.Duration
	maxSeries    int

	at     time.Time
	index  map[string]int
	head   frameHead
	reseed bool // a new series appeared: readers need its name, so they get a snapshot
}

func (e *queryEval) step(ctx context.Context, now time.Time) (*payload, error) {
	at := now.Truncate(e.each)
	if !at.After(e.at) {
		return nil, nil //nolint:nilnil // the step has been told already
	}
	v, err := e.engine.Instant(ctx, e.expr, at)
	if err != nil {
		return nil, err
	}
	first := e.at.IsZero()
	e.at = at
	if first {
		return nil, nil //nolint:nilnil // the snapshot tells the first step
	}
	var p points
	for _, s := range v {
		if s.H != nil {
			continue
		}
		i, ok := e.index[s.Metric.String()]
		if !ok {
			e.reseed = true
			break
		}
		p.add(i, at.UnixMilli(), s.F)
	}
	if e.reseed {
		return e.seed(ctx)
	}
	b, err := encodeFrame(0, 0, framePoints, frameHead{}, p)
	if err != nil {
		return nil, err
	}
	return &payload{binary: true, body: b}, nil
}

func (e *queryEval) snapshot(ctx context.Context) (*payload, error) {
	if e.at.IsZero() {
		return nil, nil //nolint:nilnil // not evaluated yet
	}
	return e.seed(ctx)
}

// seed asks for the whole window. The window grows by series that came since, so all readers
// of the feed must get the same numbering: index and head only ever grow.
func (e *queryEval) seed(ctx context.Context) (*payload, error) {
	m, err := e.engine.Range(ctx, e.expr, e.at.Add(-e.window), e.at, e.each)
	if err != nil {
		return nil, err
	}
	e.reseed = false
	if e.index == nil {
		e.index = map[string]int{}
	}
	var p points
	for _, s := range m {
		k := s.Metric.String()
		i, ok := e.index[k]
		if !ok {
			if len(e.index) >= e.maxSeries {
				return nil, fmt.Errorf("%q gives more than %d series: aggregate it or take topk()", e.expr, e.maxSeries)
			}
			i = len(e.index)
			e.index[k] = i
			e.head.Series = append(e.head.Series, frameSeries{Labels: s.Metric.Map()})
		}
		for _, f := range s.Floats {
			p.add(i, f.T, f.F)
		}
	}
	b, err := encodeFrame(0, 0, frameSnapshot, e.head, p)
	if err != nil {
		return nil, err
	}
	return &payload{binary: true, body: b}, nil
}
