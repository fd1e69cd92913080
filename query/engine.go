// Package query runs PromQL over a storage engine for one tenant at a time.
//
// Expressions come from the Prometheus HTTP API (query/prom), the live socket (query/live) and
// alerts; samples come from store.Metrics; the tenant comes from the access.Identity in the context.
package query

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
)

// Config bounds what queries may cost.
type Config struct {
	Timeout     time.Duration `yaml:"timeout"`     // of one query, at least 100ms
	MaxSamples  int           `yaml:"max_samples"` // one query may hold in memory at a time
	Concurrency int           `yaml:"concurrency"` // queries that run at once; further ones wait
	Lookback    time.Duration `yaml:"lookback"`    // how old the newest sample of a series may be to count as its value
	MaxLength   int           `yaml:"max_length"`  // of an expression, bytes
}

// DefaultConfig returns the bounds that suit one machine.
func DefaultConfig() Config {
	return Config{Timeout: 10 * time.Second, MaxSamples: 20_000_000, Concurrency: 16, Lookback: 5 * time.Minute, MaxLength: 64 << 10}
}

// Validate reports the first bound that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Timeout < 100*time.Millisecond:
		return fmt.Errorf("query.timeout is %s: must be at least 100ms", c.Timeout)
	case c.MaxSamples < 1000:
		return fmt.Errorf("query.max_samples is %d: must be at least 1000", c.MaxSamples)
	case c.Concurrency < 1:
		return fmt.Errorf("query.concurrency is %d: must be at least 1", c.Concurrency)
	case c.Lookback < time.Second:
		return fmt.Errorf("query.lookback is %s: must be at least 1s", c.Lookback)
	case c.MaxLength < 100:
		return fmt.Errorf("query.max_length is %d: must be at least 100 bytes", c.MaxLength)
	}
	return nil
}

// Engine evaluates PromQL. It is safe for concurrent use.
type Engine struct {
	cfg       Config
	promql    *promql.Engine
	parser    parser.Parser
	queryable *Queryable
}

// New builds an engine over m.
func New(cfg Config, m store.Metrics, logger *slog.Logger, set *metrics.Set) *Engine {
	p := parser.NewParser(parser.Options{EnableExperimentalFunctions: true})
	return &Engine{
		cfg:    cfg,
		parser: p,
		promql: promql.NewEngine(promql.EngineOpts{
			Logger: logger, MaxSamples: cfg.MaxSamples, Timeout: cfg.Timeout, LookbackDelta: cfg.Lookback,
			EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
			ActiveQueryTracker:       newTracker(cfg.Concurrency, set),
		}),
		queryable: &Queryable{metrics: m},
	}
}

// PromQL returns the underlying engine, parser and queryable for the HTTP API.
func (e *Engine) PromQL() (promql.QueryEngine, parser.Parser, *Queryable) {
	return e.promql, e.parser, e.queryable
}

// MaxLength is the longest expression taken, in bytes.
func (e *Engine) MaxLength() int { return e.cfg.MaxLength }

// Instant evaluates expr at ts.
func (e *Engine) Instant(ctx context.Context, expr string, ts time.Time) (promql.Vector, error) {
	if err := e.check(expr); err != nil {
		return nil, err
	}
	q, err := e.promql.NewInstantQuery(ctx, e.queryable, nil, expr, ts)
	if err != nil {
		return nil, fmt.Errorf("cannot parse %q: %w: %w", expr, store.ErrInvalid, err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("cannot evaluate %q: %w", expr, res.Err)
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		// The vector's memory goes back to the engine on Close.
		return append(promql.Vector(nil), v...), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	default:
		return nil, fmt.Errorf("cannot use %q: it gives a %s, not a vector: %w", expr, res.Value.Type(), store.ErrInvalid)
	}
}

// Range evaluates expr at every step of [from, to]. The caller owns the result.
func (e *Engine) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	if err := e.check(expr); err != nil {
		return nil, err
	}
	q, err := e.promql.NewRangeQuery(ctx, e.queryable, nil, expr, from, to, step)
	if err != nil {
		return nil, fmt.Errorf("cannot parse %q: %w: %w", expr, store.ErrInvalid, err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("cannot evaluate %q: %w", expr, res.Err)
	}
	m, err := res.Matrix()
	if err != nil {
		return nil, fmt.Errorf("cannot use %q: %w", expr, err)
	}
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		out[i] = promql.Series{Metric: s.Metric, Floats: append([]promql.FPoint(nil), s.Floats...)}
	}
	return out, nil
}

func (e *Engine) check(expr string) error {
	if len(expr) > e.cfg.MaxLength {
		return fmt.Errorf("expression has %d bytes, at most %d are taken: %w", len(expr), e.cfg.MaxLength, store.ErrLimit)
	}
	return nil
}

// Tenant is the tenant of the identity in ctx; without one it is the default tenant's
// name only when nobody authenticated at all, which access forbids beyond loopback.
func Tenant(ctx context.Context) store.Tenant {
	if id, ok := access.From(ctx); ok && id.Tenant != "" {
		return store.Tenant(id.Tenant)
	}
	return store.DefaultTenant
}

// Caller is the name of who sent a request, for what is kept beside changes.
func Caller(ctx context.Context) string {
	if id, ok := access.From(ctx); ok && id.Name != "" {
		return id.Name
	}
	return "anonymous"
}

// As returns a context in which queries read the data of t.
func As(ctx context.Context, t store.Tenant) context.Context {
	return access.With(ctx, access.Identity{Name: "weir", Tenant: string(t), Permissions: []access.Permission{access.Query}})
}
