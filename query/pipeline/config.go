package pipeline

import (
	"fmt"
	"os"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
)

// Config of the evaluation of pipelines.
type Config struct {
	Interval time.Duration `yaml:"interval"` // between evaluations of offsets: lag, rates, state
	Settle   time.Duration `yaml:"settle"`   // between evaluations of cells: balances, barriers, verdicts
	Grace    time.Duration `yaml:"grace"`    // how long after a window its producers are waited for
	Margin   time.Duration `yaml:"margin"`   // how long counts may follow the commit of their records
	// MaxLatency is waited for on hops without a broker that tells offsets.
	MaxLatency time.Duration `yaml:"max_latency"`
	// Lookback bounds how far back windows that are not settled are followed.
	Lookback time.Duration `yaml:"lookback"`
	// Lag and Freshness are the objectives: beyond them a pipeline is LATE.
	Lag       time.Duration `yaml:"lag"`
	Freshness time.Duration `yaml:"freshness"`
	// Calm is how long a pipeline that was LATE must stay within its objectives to be OK again; below 80 % of them it is OK at once.
	Calm time.Duration `yaml:"calm"`
	// Losing is how long after the last settled loss a pipeline stays LOSING, at least two windows.
	Losing       time.Duration        `yaml:"losing"`
	IdleAfter    time.Duration        `yaml:"idle_after"`    // a source silent this long makes a pipeline IDLE
	Forget       time.Duration        `yaml:"forget"`        // a stage, group or auditor unheard of this long is forgotten
	MaxPipelines int                  `yaml:"max_pipelines"` // per tenant; further ones are counted and not shown
	Offsets      bool                 `yaml:"offsets_only"`  // show groups no application counts for, from offsets alone
	Objectives   map[string]Objective `yaml:"objectives"`    // by pipeline, where the common lag and freshness are not right
	RulesDir     string               `yaml:"rules_dir"`     // folder of further rules, *.yaml (docs/rules.md), read at the start; a file of a built-in system replaces it; empty: none
	Dir          string               `yaml:"dir"`           // folder of declared pipelines, *.yaml, read again when they change; TENANT/*.yaml for other tenants than the default; empty: none
}

// Objective overrides the objectives of one pipeline; 0 keeps the common one.
type Objective struct {
	Lag       time.Duration `yaml:"lag"`       // of this pipeline; 0: pipelines.lag
	Freshness time.Duration `yaml:"freshness"` // of this pipeline; 0: pipelines.freshness
}

// DefaultConfig evaluates every second and calls a pipeline late after a minute.
func DefaultConfig() Config {
	r := flow.DefaultRules()
	return Config{
		Interval: time.Second, Settle: 2 * time.Second, Grace: r.Grace, Margin: r.Margin, MaxLatency: r.MaxLatency,
		Lookback: 6 * time.Hour, Lag: time.Minute, Freshness: time.Minute, Calm: 15 * time.Second, Losing: time.Minute, IdleAfter: time.Minute,
		Forget: 24 * time.Hour, MaxPipelines: 5000, Offsets: true,
	}
}

// Validate reports the first setting that cannot work.
func (c Config) Validate() error {
	for _, d := range []struct {
		name     string
		v        time.Duration
		min, max time.Duration
	}{
		{"interval", c.Interval, 100 * time.Millisecond, time.Minute},
		{"settle", c.Settle, 100 * time.Millisecond, 10 * time.Minute},
		{"grace", c.Grace, 0, 24 * time.Hour},
		{"margin", c.Margin, 0, time.Hour},
		{"max_latency", c.MaxLatency, 0, 24 * time.Hour},
		{"lookback", c.Lookback, time.Minute, 7 * 24 * time.Hour},
		{"lag", c.Lag, time.Millisecond, 30 * 24 * time.Hour},
		{"freshness", c.Freshness, time.Millisecond, 30 * 24 * time.Hour},
		{"calm", c.Calm, 0, time.Hour},
		{"losing", c.Losing, 0, 24 * time.Hour},
		{"idle_after", c.IdleAfter, time.Second, 24 * time.Hour},
		{"forget", c.Forget, 10 * time.Minute, 30 * 24 * time.Hour},
	} {
		if d.v < d.min || d.v > d.max {
			return fmt.Errorf("pipelines.%s is %s: must be between %s and %s", d.name, d.v, d.min, d.max)
		}
	}
	if c.MaxPipelines < 1 || c.MaxPipelines > 1_000_000 {
		return fmt.Errorf("pipelines.max_pipelines is %d: must be between 1 and 1000000", c.MaxPipelines)
	}
	if c.RulesDir != "" {
		if _, err := c.LoadRules(); err != nil {
			return fmt.Errorf("pipelines.rules_dir: %w", err)
		}
	}
	for id, o := range c.Objectives {
		if o.Lag < 0 || o.Freshness < 0 {
			return fmt.Errorf("pipelines.objectives.%s has lag %s and freshness %s: must not be negative; leave out what the common objective is right for", id, o.Lag, o.Freshness)
		}
	}
	return nil
}

// LoadRules reads the rules of known systems: the built-in ones and those of RulesDir.
func (c Config) LoadRules() (*rules.Set, error) {
	if c.RulesDir == "" {
		return rules.Builtin()
	}
	if s, err := os.Stat(c.RulesDir); err != nil {
		return nil, fmt.Errorf("cannot read rules: %w", err)
	} else if !s.IsDir() {
		return nil, fmt.Errorf("cannot read rules: %q is a file: name the folder it lies in", c.RulesDir)
	}
	return rules.Load(os.DirFS(c.RulesDir))
}

func (c *Config) rules() flow.Rules {
	return flow.Rules{Grace: c.Grace, Margin: c.Margin, MaxLatency: c.MaxLatency, SilentFlushes: 3}
}

// objective of a pipeline, in seconds.
func (c *Config) objective(id string) (lag, freshness float64) {
	l, f := c.Lag, c.Freshness
	if o, ok := c.Objectives[id]; ok {
		if o.Lag > 0 {
			l = o.Lag
		}
		if o.Freshness > 0 {
			f = o.Freshness
		}
	}
	return l.Seconds(), f.Seconds()
}
