// Package live pushes answers and PromQL results to open pages over WebSocket: a snapshot, then numbered deltas.
//
// Subscriptions come from browsers on /api/v1/live; answers come from the same api.Source and
// query.Engine as the HTTP routes. Equal subscriptions of all clients are evaluated once per step.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gorilla/websocket"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/api"
	"github.com/weirhq/weir/store"
)

// Config bounds the hub.
type Config struct {
	MaxConnections   int           `yaml:"max_connections"`   // open pages; further ones get 503
	MaxSubscriptions int           `yaml:"max_subscriptions"` // per connection
	MaxSeries        int           `yaml:"max_series"`        // per query
	Step             time.Duration `yaml:"step"`              // between two evaluations of a topic, at least 100ms; topic query has its own
}

// DefaultConfig returns bounds for one machine.
func DefaultConfig() Config {
	return Config{MaxConnections: 1000, MaxSubscriptions: 32, MaxSeries: 500, Step: time.Second}
}

// Validate reports the first bound that cannot work.
func (c Config) Validate() error {
	if c.MaxConnections < 1 || c.MaxSubscriptions < 1 || c.MaxSeries < 1 {
		return fmt.Errorf("live: max_connections %d, max_subscriptions %d and max_series %d must all be at least 1", c.MaxConnections, c.MaxSubscriptions, c.MaxSeries)
	}
	if c.Step < 100*time.Millisecond {
		return fmt.Errorf("live.step is %s: must be at least 100ms", c.Step)
	}
	return nil
}

// Hub serves all live connections.
type Hub struct {
	cfg    Config
	source api.Source
	engine *query.Engine
	logger *slog.Logger
	up     websocket.Upgrader
	gaps   *metrics.Counter
	sent   *metrics.Counter
	refuse *metrics.Counter

	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // the life of the hub, set by Run; feeds outlive the requests that start them
	closed bool
	feeds  map[string]*feed
	conns  map[*conn]struct{}
	wg     sync.WaitGroup
}

// New builds a hub; nothing runs until Run.
func New(cfg Config, s api.Source, e *query.Engine, logger *slog.Logger, set *metrics.Set) *Hub {
	h := &Hub{
		cfg: cfg, source: s, engine: e, logger: logger,
		up:     websocket.Upgrader{ReadBufferSize: 4 << 10, WriteBufferSize: 32 << 10, EnableCompression: true},
		feeds:  map[string]*feed{},
		conns:  map[*conn]struct{}{},
		gaps:   set.GetOrCreateCounter("weir_live_gaps_total"),
		sent:   set.GetOrCreateCounter("weir_live_messages_total"),
		refuse: set.GetOrCreateCounter("weir_live_refused_total"),
	}
	set.GetOrCreateGauge("weir_live_connections", func() float64 { h.mu.Lock(); defer h.mu.Unlock(); return float64(len(h.conns)) })
	set.GetOrCreateGauge("weir_live_feeds", func() float64 { h.mu.Lock(); defer h.mu.Unlock(); return float64(len(h.feeds)) })
	return h
}

// Run serves connections until ctx ends, and returns when every one is closed.
func (h *Hub) Run(ctx context.Context) error {
	h.mu.Lock()
	h.ctx = ctx
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.closed = true
	for c := range h.conns {
		c.close(websocket.CloseGoingAway, "server stops")
	}
	h.mu.Unlock()
	h.wg.Wait()
	return nil
}

// Routes is the one route of the hub.
func (h *Hub) Routes() []access.Route {
	return []access.Route{{Pattern: "GET /api/v1/live", Need: access.Query, Handler: http.HandlerFunc(h.serve)}}
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	c := &conn{hub: h, tenant: query.Tenant(r.Context()), out: make(chan message, 64), done: make(chan struct{}), subs: map[uint32]*subscription{}}
	h.mu.Lock()
	if h.ctx == nil || h.closed || len(h.conns) >= h.cfg.MaxConnections {
		h.mu.Unlock()
		h.refuse.Inc()
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many live connections, or the server stops", http.StatusServiceUnavailable)
		return
	}
	h.conns[c] = struct{}{}
	h.wg.Add(1)
	h.mu.Unlock()
	defer h.wg.Done()
	defer h.drop(c)
	ws, err := h.up.Upgrade(w, r, nil) // answers the request itself on error
	if err != nil {
		return
	}
	c.serve(ws) //nolint:contextcheck // feeds outlive the request that starts them
}

func (h *Hub) drop(c *conn) {
	for _, s := range c.subs {
		h.leave(s)
	}
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
}

// join finds or starts the feed of a subscription.
func (h *Hub) join(s *subscription, q request) error {
	eval, key, every, err := h.evaluator(s.conn.tenant, q)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return errors.New("the server stops")
	}
	f, ok := h.feeds[key]
	ctx := h.ctx
	if !ok {
		fctx, cancel := context.WithCancel(query.As(h.ctx, s.conn.tenant))
		f = &feed{key: key, every: every, eval: eval, stop: cancel, subs: map[*subscription]struct{}{}}
		h.feeds[key] = f
		h.wg.Go(func() { f.run(fctx) })
	}
	s.feed = f
	f.mu.Lock()
	f.subs[s] = struct{}{}
	f.mu.Unlock()
	h.mu.Unlock()
	if ok {
		f.greet(query.As(ctx, s.conn.tenant), s)
	}
	return nil
}

// leave removes a subscription; a feed that nobody reads ends.
func (h *Hub) leave(s *subscription) {
	if s.feed == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.feed.mu.Lock()
	delete(s.feed.subs, s)
	empty := len(s.feed.subs) == 0
	s.feed.mu.Unlock()
	if empty && h.feeds[s.feed.key] == s.feed {
		delete(h.feeds, s.feed.key)
		s.feed.stop()
	}
}

// request is what a client says.
type request struct {
	Op     string `json:"op"`
	ID     uint32 `json:"id"`
	Topic  string `json:"topic"`
	Key    string `json:"key"`
	Query  string `json:"query"`
	Step   int64  `json:"step"`   // ms
	Window int64  `json:"window"` // ms
}

func (h *Hub) evaluator(t store.Tenant, q request) (evaluator, string, time.Duration, error) {
	key := strings.Join([]string{string(t), q.Topic, q.Key}, "\x00")
	ask := func(f func(context.Context) (any, error)) (evaluator, string, time.Duration, error) {
		return &answerEval{ask: f}, key, h.cfg.Step, nil
	}
	s := h.source
	switch q.Topic {
	case "now":
		return ask(func(ctx context.Context) (any, error) { return s.Now(ctx, t) })
	case "pipelines":
		return ask(func(ctx context.Context) (any, error) { return s.Pipelines(ctx, t) })
	case "pipeline":
		return ask(func(ctx context.Context) (any, error) { return s.Pipeline(ctx, t, q.Key) })
	case "groups":
		g, err := groupQuery(q.Query)
		if err != nil {
			return nil, "", 0, err
		}
		key = strings.Join([]string{string(t), q.Topic, fmt.Sprintf("%#v", g)}, "\x00")
		return ask(func(ctx context.Context) (any, error) { return s.Groups(ctx, t, g) })
	case "loss", "incidents":
		l, err := lossQuery(q.Key, q.Query)
		if err != nil {
			return nil, "", 0, err
		}
		key = strings.Join([]string{string(t), q.Topic, fmt.Sprintf("%#v", l)}, "\x00")
		return ask(func(ctx context.Context) (any, error) {
			l := l
			l.To = time.Now()
			l.From = l.To.Add(-24 * time.Hour)
			if q.Topic == "loss" {
				return s.Losses(ctx, t, l)
			}
			l.Limit = 200
			return s.FindIncidents(ctx, t, l)
		})
	case "stage":
		id, stage, ok := strings.Cut(q.Key, "\x1f")
		if !ok {
			return nil, "", 0, fmt.Errorf("key is %q: must be the pipeline and the stage, with U+001F between", q.Key)
		}
		return ask(func(ctx context.Context) (any, error) { return s.Stage(ctx, t, id, stage) })
	case "incident":
		return ask(func(ctx context.Context) (any, error) { return s.Incident(ctx, t, q.Key) })
	case "self":
		return ask(func(ctx context.Context) (any, error) { return s.Self(ctx, t) })
	case "alerts":
		return ask(func(ctx context.Context) (any, error) { return s.Alerts(ctx, t) })
	case "query":
		step, window := time.Duration(q.Step)*time.Millisecond, time.Duration(q.Window)*time.Millisecond
		if step < time.Second || window < step || window/step > 11_000 {
			return nil, "", 0, fmt.Errorf("step %d ms and window %d ms: step must be at least 1000 and window at most 11,000 steps", q.Step, q.Window)
		}
		key = strings.Join([]string{string(t), "query", q.Query, step.String(), window.String()}, "\x00")
		return &queryEval{engine: h.engine, expr: q.Query, window: window, each: step, maxSeries: h.cfg.MaxSeries}, key, step, nil
	default:
		return nil, "", 0, fmt.Errorf("topic is %q: must be now, pipelines, pipeline, stage, groups, loss, incidents, incident, self, alerts or query", q.Topic)
	}
}

func encodeText(id, seq uint32, kind string, data []byte) []byte {
	b := fmt.Appendf(nil, `{"id":%d,"seq":%d,"kind":%q`, id, seq, kind)
	if data != nil {
		b = append(b, `,"data":`...)
		b = append(b, data...)
	}
	return append(b, '}')
}

func encodeError(id uint32, msg string) []byte {
	m, err := json.Marshal(msg)
	if err != nil {
		m = []byte(`"error"`)
	}
	return fmt.Appendf(nil, `{"id":%d,"kind":"error","error":%s}`, id, m)
}
