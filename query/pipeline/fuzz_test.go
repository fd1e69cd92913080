package pipeline

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// script reads what happens from bytes; when they are used up everything is 0.
type script []byte

func (s *script) next() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) of(names ...string) string { return names[int(s.next())%len(names)] }

// number is mostly small, sometimes one that cannot be.
func (s *script) number() float64 {
	b := s.next()
	switch b {
	case 255:
		return math.NaN()
	case 254:
		return math.Inf(1)
	case 253:
		return math.Inf(-1)
	case 252:
		return 1 << 63
	case 251:
		return -1
	case 250:
		return math.MaxFloat64
	case 249:
		return 0.5
	}
	return float64(b) * float64(s.next())
}

func (s *script) count() int64 {
	v := s.number()
	if !(math.Abs(v) < 1<<62) {
		return math.MaxInt64
	}
	return int64(v)
}

// FuzzEvaluation gives the evaluation offsets, counts, auditors and joined spans of any kind in any order. It never panics, and
// answers only what can be: every page becomes JSON, no number of records is below zero, no confidence beyond one.
func FuzzEvaluation(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{7, 5, 0, 0, 0, 0, 0, 0, 10, 10, 1, 1, 1, 1, 1, 3, 3, 7, 20, 4, 0, 0, 0, 0, 0, 0, 10, 10, 7, 60})
	var orderly []byte // two offsets, a count on both sides, an auditor, and time that passes, again and again
	for i := range byte(30) {
		orderly = append(
			orderly,
			0, 6, 0, 0, 0, 0, i, 10, 0, 15, 0, 0, 0, 0, i, 9, 4, 0, 1, 0, 0, 3, 0, 10, 10, i, 4, 1, 0, 0, 0, 3, 0, 10, 9, i, 5, 0, 0, i, 7, 10,
			6, i%3, 0, 3, 10, 20, 10, 10, 10, 10, 1, 1,
		)
	}
	f.Add(orderly)
	f.Fuzz(nonsense)
}

// What FuzzEvaluation looks for, in some hundred scripts that are made up without looking.
func TestEvaluationOfNonsense(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 200+rnd.IntN(3000))
		for i := range data {
			if data[i] = byte(rnd.IntN(256)); rnd.IntN(4) > 0 {
				data[i] %= 12 // small: what happens concerns the same things
			}
		}
		if nonsense(t, data); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func nonsense(t *testing.T, data []byte) {
	t.Helper()
	s := script(data[:min(len(data), 4096)])
	e := newFake()
	p := New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	now := int64(demoStart)
	p.Evaluate(t.Context(), time.Unix(now, 0))
	for rounds := 0; len(s) > 0 && rounds < 60; {
		switch s.next() % 8 {
		case 4:
			e.counts(&s, now)
		case 5:
			e.auditor(&s, now)
		case 6:
			e.joined(&s, now)
		case 7:
			now += int64(s.next())
			e.sample(now*1000, 1, labels.FromStrings(model.MetricNameLabel, "weir_broker_up", "system", "kafka", "cluster", "c", "node", "n"))
			p.Evaluate(t.Context(), time.Unix(now, 0))
			if rounds++; rounds%5 == 0 {
				p.everything(t, now)
			}
		default:
			e.offset(&s, now)
		}
	}
	for range 3 {
		now += 40
		p.Evaluate(t.Context(), time.Unix(now, 0))
	}
	p.everything(t, now)
	for k, v := range e.verdicts {
		if v.Lost < 0 || v.Surplus < 0 || v.Epsilon < 0 || !(v.Confidence >= 0 && v.Confidence <= 1) {
			t.Errorf("%+v: %+v", k, v)
		}
	}
}

func (e *fakeEngine) offset(s *script, now int64) {
	name := s.of("up", "destination_info", "group_info", "group_members", "group_epoch", "start_offset", "end_offset", "stable_offset", "compacted", "synthetic",
		"messages", "bytes", "retention_seconds", "retention_messages", "retention_bytes", "committed_offset", "uncommitted", "committed_timestamp_seconds",
		"delivered_offset", "delivered_total", "pending_messages", "unacked_messages", "redelivered_messages", "filtered", "discarded_total")
	ls := []string{
		model.MetricNameLabel, "weir_broker_" + name, "system", s.of("kafka", "nats", "", "rabbitmq"), "cluster", "c", "node", s.of("n", "m"),
		"destination", s.of("orders", "out", ""), "partition", s.of("0", "1", "x"), "group", "g", "id", "i", "reason", "expired", "state", "Stable",
	}
	e.sample(now*1000, s.number(), labels.FromStrings(ls...))
}

func (e *fakeEngine) counts(s *script, now int64) {
	k := cell.Key{
		Pipeline: "p", Stage: s.of("source", "sink", ""), Dir: []cell.Dir{cell.In, cell.Out, cell.Filtered, cell.Dropped, cell.DLQ, cell.Covers, "unflushed", "odd"}[s.next()%8],
		Destination: s.of("orders", "out", ""), Group: s.of("", "g"), Width: []int64{10, 60, 0, -5, 7}[s.next()%5],
	}
	k.Window = now - int64(s.next()%8)*10
	if k.Window -= k.Window % 10; s.next()%16 == 15 {
		k.Window = s.count()
	}
	c := cell.Cell{Key: k, Instance: s.of("n/1", "n/2"), Node: "n", Epoch: 1, Seq: uint64(s.next()), Counts: cell.Counts{N: uint64(s.count())}}
	if b := s.next(); b%2 == 1 {
		c.FpSum, c.FpXor, c.Hashed = uint64(b), uint64(b), c.N
	}
	_ = fakeLedger{e}.PutCells(context.Background(), store.DefaultTenant, cell.Batch{Auditor: cell.Auditor{Node: "n", Epoch: 1, Seq: uint64(s.next()), At: now * 1000, FlushMS: 1000}, Cells: []cell.Cell{c}})
}

func (e *fakeEngine) auditor(s *script, now int64) {
	a := cell.Auditor{Node: s.of("n", "m"), Epoch: 1 + int64(s.next()), Seq: uint64(s.next()), At: now*1000 - int64(s.next())*100, FlushMS: 1000 * int64(s.next()%4)}
	if s.next()%4 == 3 {
		a.Drops, a.DropMax, a.DropFrom, a.DropTo, a.Closed, a.PreviousOpen = uint64(s.count()), uint64(s.count()), now-s.count(), now, true, true
		a.ClockOffset, a.ClockError = s.count(), s.count()
	}
	_ = fakeLedger{e}.PutCells(context.Background(), store.DefaultTenant, cell.Batch{Auditor: a})
}

func (e *fakeEngine) joined(s *script, now int64) {
	k := cell.PairKey{Kind: []cell.PairKind{cell.PairEdge, cell.PairWriter, cell.PairReader}[s.next()%3], From: "source", System: "kafka", Destination: s.of("orders", "out"), Group: "g", To: "sink", Width: 10}
	k.Window = now/10*10 - int64(s.next()%20)*10
	c := cell.PairCounts{Messages: s.count(), Adjusted: s.number(), Known: s.count(), Up: s.count(), UpMessages: s.count(), Matched: s.count(), Missed: s.count(), Reverse: s.count(), Unjudged: s.count(), Waiting: int64(s.next())}
	_ = fakeLedger{e}.PutPairs(context.Background(), store.DefaultTenant, []cell.Pair{{PairKey: k, Instance: "server", Epoch: 1, Seq: uint64(binary.BigEndian.Uint16([]byte{s.next(), s.next()})), At: now * 1000, PairCounts: c}})
}

// everything asks for all pages of a service.
func (s *Service) everything(t *testing.T, now int64) {
	t.Helper()
	ctx, id := t.Context(), store.DefaultTenant
	from, to := time.Unix(demoStart-600, 0), time.Unix(now, 0)
	shown := func(what string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if _, err := json.Marshal(v); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	list, err := s.Pipelines(ctx, id)
	shown("pipelines", list, err)
	for _, row := range list.Pipelines {
		p, err := s.Pipeline(ctx, id, row.ID)
		shown(row.ID, p, err)
		for _, st := range p.Stages {
			page, err := s.Stage(ctx, id, row.ID, st.Stage)
			shown(st.Stage, page, err)
		}
		if p.Lag.Messages != nil && *p.Lag.Messages < 0 || p.Lag.Seconds != nil && *p.Lag.Seconds < 0 {
			t.Errorf("%s: lag %+v", row.ID, p.Lag)
		}
		h, err := s.PipelineHistory(ctx, id, row.ID, from, to, 10*time.Second)
		shown("history", h, err)
	}
	groups, err := s.Groups(ctx, id, answer.GroupQuery{Limit: 100})
	shown("groups", groups, err)
	losses, err := s.Loss(ctx, id, from, to, "")
	shown("loss", losses, err)
	for _, row := range losses.Rows {
		d, err := s.LossDetail(ctx, id, row.ID, from, to)
		shown(row.ID, d, err)
	}
	incidents, err := s.Incidents(ctx, id, from, to, "", 100)
	shown("incidents", incidents, err)
	n, err := s.Now(ctx, id)
	shown("now", n, err)
	self, err := s.Self(ctx, id)
	shown("self", self, err)
}
