package live

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gorilla/websocket"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/api"
	"github.com/weirhq/weir/store"
)

// fakeSource answers only what the tests ask; anything else is a nil call and panics.
type fakeSource struct {
	api.Source
	n     atomic.Int64
	calls atomic.Int64
}

func (f *fakeSource) Pipelines(context.Context, store.Tenant) (answer.Pipelines, error) {
	f.calls.Add(1)
	in := float64(f.n.Load())
	return answer.Pipelines{Pipelines: []answer.PipelineRow{{ID: "orders", State: answer.OK, In: &in}, {ID: "still", State: answer.Idle}}}, nil
}

// Groups repeats the question, so that a test sees what was asked.
func (f *fakeSource) Groups(_ context.Context, _ store.Tenant, q answer.GroupQuery) (answer.Groups, error) {
	f.calls.Add(1)
	n := float64(f.n.Load())
	rows := []answer.GroupRow{{ID: fmt.Sprintf("%+v", q), Lag: answer.Lag{Messages: &n}}, {ID: "still"}}
	return answer.Groups{Total: 2, Groups: rows, Counts: map[string]int{"OK": 2}}, nil
}

type said struct {
	ID   uint32          `json:"id"`
	Seq  uint32          `json:"seq"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
	Err  string          `json:"error"`
}

func start(t *testing.T, src api.Source, cfg Config) (dial func() *websocket.Conn, h *Hub) {
	t.Helper()
	h = New(cfg, src, nil, slog.New(slog.DiscardHandler), metrics.NewSet())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	srv := httptest.NewServer(h.Routes()[0].Handler)
	t.Cleanup(func() {
		cancel()
		<-done // every connection and feed has ended
		srv.Close()
	})
	for h.life() == nil {
		time.Sleep(time.Millisecond) //nolint:forbidigo // Run has no other sign that it has begun
	}
	return func() *websocket.Conn {
		ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		t.Cleanup(func() { ws.Close() })
		return ws
	}, h
}

func (h *Hub) life() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ctx
}

func ask(t *testing.T, ws *websocket.Conn, q request) {
	t.Helper()
	if err := ws.WriteJSON(q); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, ws *websocket.Conn) said {
	t.Helper()
	if err := ws.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, b, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var s said
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%q: %s", b, err)
	}
	return s
}

func TestSnapshotThenNumberedDeltas(t *testing.T) {
	src := &fakeSource{}
	cfg := DefaultConfig()
	cfg.Step = 100 * time.Millisecond
	dial, _ := start(t, src, cfg)
	ws := dial()
	ask(t, ws, request{Op: "sub", ID: 7, Topic: "pipelines"})
	first := next(t, ws)
	if first.Kind != "snapshot" || first.Seq != 1 || first.ID != 7 {
		t.Fatalf("first message %+v", first)
	}
	var base any
	if err := json.Unmarshal(first.Data, &base); err != nil {
		t.Fatal(err)
	}
	for seq := uint32(2); seq < 5; seq++ {
		src.n.Add(1)
		m := next(t, ws)
		if m.Kind != "delta" || m.Seq != seq {
			t.Fatalf("message %+v, want delta %d", m, seq)
		}
		if strings.Contains(string(m.Data), "still") {
			t.Errorf("delta carries a row that did not change: %s", m.Data)
		}
		var p any
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Fatal(err)
		}
		base = apply(base, p)
	}
	b, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`"in":%d`, src.n.Load()); !strings.Contains(string(b), want) {
		t.Errorf("after the deltas the page has %s, want %s", b, want)
	}
}

// A page of groups is followed with its question; the same question in other words is the same feed.
func TestGroupsAreFollowedByTheirQuestion(t *testing.T) {
	src := &fakeSource{}
	cfg := DefaultConfig()
	cfg.Step = 100 * time.Millisecond
	dial, h := start(t, src, cfg)
	ws := dial()
	ask(t, ws, request{Op: "sub", ID: 1, Topic: "groups", Query: "q=a+b&state=LATE&system=kafka&sort=name&limit=50&offset=100"})
	want := fmt.Sprintf("%+v", answer.GroupQuery{Text: "a b", State: "LATE", System: "kafka", Sort: "name", Limit: 50, Offset: 100})
	if m := next(t, ws); m.Kind != "snapshot" || !strings.Contains(string(m.Data), want) {
		t.Fatalf("snapshot %s %s %s, want %s", m.Kind, m.Data, m.Err, want)
	}
	src.n.Add(1)
	if m := next(t, ws); m.Kind != "delta" || strings.Contains(string(m.Data), "still") || !strings.Contains(string(m.Data), `"messages":1`) {
		t.Errorf("delta %s %s", m.Kind, m.Data)
	}
	ask(t, ws, request{Op: "unsub", ID: 1})
	ask(t, ws, request{Op: "sub", ID: 2, Topic: "groups"})
	ask(t, ws, request{Op: "sub", ID: 3, Topic: "groups", Query: "sort=lag&limit=100"})
	for heard := 0; heard < 2; {
		if m := next(t, ws); m.ID > 1 && m.Kind == "snapshot" {
			heard++
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.feeds) != 1 {
		t.Errorf("%d feeds for one question", len(h.feeds))
	}
}

func TestEqualSubscriptionsAreEvaluatedOnce(t *testing.T) {
	src := &fakeSource{}
	cfg := DefaultConfig()
	cfg.Step = 100 * time.Millisecond
	dial, h := start(t, src, cfg)
	var all []*websocket.Conn
	for range 10 {
		ws := dial()
		ask(t, ws, request{Op: "sub", ID: 1, Topic: "pipelines"})
		next(t, ws)
		all = append(all, ws)
	}
	before := src.calls.Load()
	src.n.Add(1)
	for _, ws := range all {
		if m := next(t, ws); m.Kind != "delta" {
			t.Fatalf("message %+v", m)
		}
	}
	if n := src.calls.Load() - before; n > 3 {
		t.Errorf("one step for ten pages asked %d times", n)
	}
	for _, ws := range all {
		ask(t, ws, request{Op: "unsub", ID: 1})
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		h.mu.Lock()
		n := len(h.feeds)
		h.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d feeds still run though nobody reads", n)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polls a condition with a deadline
	}
}

func TestSlowReaderGetsGapAndSnapshotWithoutHoles(t *testing.T) {
	f := &feed{every: time.Second, subs: map[*subscription]struct{}{}}
	src := &fakeSource{}
	f.eval = &answerEval{ask: func(ctx context.Context) (any, error) { return src.Pipelines(ctx, "t") }}
	h := New(DefaultConfig(), src, nil, slog.New(slog.DiscardHandler), metrics.NewSet())
	c := &conn{hub: h, out: make(chan message, 3), done: make(chan struct{})}
	s := &subscription{id: 1, conn: c, feed: f}
	f.subs[s] = struct{}{}
	for range 10 { // nobody reads: the queue of three fills up
		src.n.Add(1)
		f.tick(t.Context())
	}
	var kinds []string
	last := uint32(0)
	read := func() {
		for {
			select {
			case m := <-c.out:
				var s said
				if err := json.Unmarshal(m.body, &s); err != nil {
					t.Fatal(err)
				}
				if s.Seq != last+1 {
					t.Fatalf("sequence %d after %d", s.Seq, last)
				}
				last = s.Seq
				kinds = append(kinds, s.Kind)
			default:
				return
			}
		}
	}
	read()
	src.n.Add(1)
	f.tick(t.Context())
	read()
	want := "snapshot delta delta gap snapshot"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("messages %q, want %q", got, want)
	}
}

func TestBadRequestsAreAnswered(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxSubscriptions = 1
	dial, _ := start(t, &fakeSource{}, cfg)
	ws := dial()
	for _, c := range []struct{ send, want string }{
		{`{"op":`, "cannot read"},
		{`{"op":"fly","id":3}`, "must be sub or unsub"},
		{`{"op":"sub","id":3,"topic":"weather"}`, "topic is \\\"weather\\\""},
		{`{"op":"sub","id":3,"topic":"query","query":"up","step":1}`, "step must be at least 1000"},
		{`{"op":"sub","id":3,"topic":"groups","query":"sort=size"}`, "must be lag, messages or name"},
		{`{"op":"sub","id":3,"topic":"groups","query":"limit=501"}`, "limit must be 1 to 500"},
		{`{"op":"sub","id":3,"topic":"groups","query":"limit=x"}`, "must be a whole number"},
		{`{"op":"sub","id":3,"topic":"groups","query":"offset=-1"}`, "offset at least 0"},
		{`{"op":"sub","id":3,"topic":"groups","query":"q=%zz"}`, "must be URL-encoded"},
		{`{"op":"sub","id":3,"topic":"loss","query":"verdict=bad"}`, "must be loss or unknown"},
		{`{"op":"sub","id":3,"topic":"incidents","query":"q=%zz"}`, "must be URL-encoded"},
		{`{"op":"sub","id":3,"topic":"loss","query":"q=` + strings.Repeat("x", 201) + `"}`, "q has 201 characters"},
	} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(c.send)); err != nil {
			t.Fatal(err)
		}
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), c.want) {
			t.Errorf("%s answered %s, want %q", c.send, b, c.want)
		}
	}
	ask(t, ws, request{Op: "sub", ID: 1, Topic: "pipelines"})
	next(t, ws)
	ask(t, ws, request{Op: "sub", ID: 2, Topic: "pipelines"})
	if m := next(t, ws); !strings.Contains(m.Err, "end one first") {
		t.Errorf("second subscription over the bound: %+v", m)
	}
}

type fakeEngine struct{ series int }

func (f *fakeEngine) Instant(_ context.Context, _ string, ts time.Time) (promql.Vector, error) {
	var v promql.Vector
	for i := range f.series {
		v = append(v, promql.Sample{Metric: labels.FromStrings("i", string(rune('a'+i))), T: ts.UnixMilli(), F: float64(i)})
	}
	return v, nil
}

func (f *fakeEngine) Range(_ context.Context, _ string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	var m promql.Matrix
	for i := range f.series {
		s := promql.Series{Metric: labels.FromStrings("i", string(rune('a'+i)))}
		for ts := from; !ts.After(to); ts = ts.Add(step) {
			s.Floats = append(s.Floats, promql.FPoint{T: ts.UnixMilli(), F: float64(i)})
		}
		m = append(m, s)
	}
	return m, nil
}

func TestQueryFramesCarryColumns(t *testing.T) {
	eng := &fakeEngine{series: 2}
	e := &queryEval{engine: eng, expr: "x", window: 10 * time.Second, each: time.Second, maxSeries: 10}
	now := time.Unix(1_700_000_000, 0)
	if p, err := e.step(t.Context(), now); err != nil || p != nil {
		t.Fatalf("first step %v %v", p, err)
	}
	snap, err := e.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head, n, times, values := readFrame(t, snap.body)
	if len(head.Series) != 2 || n != 22 || times[0] != float64(now.Add(-10*time.Second).UnixMilli()) || values[21] != 1 {
		t.Fatalf("snapshot %v, %d points, %v, %v", head, n, times, values)
	}
	p, err := e.step(t.Context(), now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, n, times, _ = readFrame(t, p.body); n != 2 || times[0] != float64(now.Add(time.Second).UnixMilli()) || p.body[8] != framePoints {
		t.Fatalf("step has %d points at %v, kind %d", n, times, p.body[8])
	}
	eng.series = 3 // a series nobody has heard of: readers need its labels
	if p, err = e.step(t.Context(), now.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	if head, _, _, _ = readFrame(t, p.body); len(head.Series) != 3 || p.body[8] != frameSnapshot {
		t.Fatalf("new series came as kind %d with %v", p.body[8], head)
	}
	eng.series = 11
	if _, err = e.step(t.Context(), now.Add(3*time.Second)); err == nil || !strings.Contains(err.Error(), "more than 10 series") {
		t.Fatalf("over the bound: %v", err)
	}
}

func readFrame(t *testing.T, b []byte) (head frameHead, n int, times, values []float64) {
	t.Helper()
	jl := int(binary.LittleEndian.Uint32(b[12:]))
	if err := json.Unmarshal(b[16:16+jl], &head); err != nil {
		t.Fatal(err)
	}
	at := 16 + jl
	n = int(binary.LittleEndian.Uint32(b[at:]))
	at += 4 + 4*n
	at = (at + 7) / 8 * 8
	for i := range n {
		times = append(times, math.Float64frombits(binary.LittleEndian.Uint64(b[at+8*i:])))
		values = append(values, math.Float64frombits(binary.LittleEndian.Uint64(b[at+8*(n+i):])))
	}
	if want := at + 16*n; len(b) != want {
		t.Fatalf("frame has %d bytes, want %d", len(b), want)
	}
	return head, n, times, values
}
