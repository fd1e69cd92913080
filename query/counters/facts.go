package counters

import (
	"math"

	"github.com/weirhq/weir/query/flow/rules"
)

// Facts are what counters say of a stage now; nil is not known.
type Facts struct {
	In, Out       *float64 // records per second
	Busy          *float64 // 0..1, of the busiest instance
	Pressure      *float64 // 0..1 share of the time the output was blocked, of the worst instance
	WatermarkLag  *float64 // seconds, of the instance furthest behind
	Lag           *float64 // seconds, as the system says
	Behind        *float64 // seconds its readers are behind
	Queue         *float64 // records held or waiting
	Fill          *float64 // 0..1, of the fullest instance
	Restarts      *float64 // in the last hour
	Instances     int
	At, Interval  int64
	Stale         bool // nothing new for three scrapes
	Resets, Holes int
}

// fresh says whether a gauge is still true.
func (si *stageInstance) fresh(now, at int64) bool {
	return at > 0 && now-at <= max(4*si.inst.interval, 60_000)
}

// Facts sums a stage over its instances.
func (st *Stage) Facts(now int64) Facts {
	f := Facts{At: st.At, Stale: true}
	sum := func(to **float64, v float64) {
		if !finite(v) {
			return
		}
		if *to != nil {
			v += **to
		}
		*to = &v
	}
	worst := func(to **float64, v float64) {
		if finite(v) && (*to == nil || v > **to) {
			*to = &v
		}
	}
	for _, si := range st.instances {
		f.Interval = max(f.Interval, si.inst.interval)
		if !si.fresh(now, si.at) {
			continue
		}
		f.Stale = false
		f.Instances++
		f.Resets += si.inst.resets
		f.Holes += si.inst.gaps
		g := func(r rules.Role) (float64, bool) {
			p, ok := si.gauges[r]
			return p.v, ok && si.fresh(now, p.at)
		}
		for _, c := range []struct {
			to            **float64
			meter, gauged rules.Role
		}{{&f.In, rules.In, rules.RateIn}, {&f.Out, rules.Out, rules.RateOut}} {
			if v, ok := si.meters[c.meter].rate(now, si.inst.interval); ok {
				sum(c.to, v)
			} else if v, ok := g(c.gauged); ok {
				sum(c.to, v)
			}
		}
		for _, c := range []struct {
			to           **float64
			gauge, meter rules.Role
		}{{&f.Busy, rules.Busy, rules.BusySeconds}, {&f.Pressure, rules.Pressure, rules.PressureSeconds}} {
			if v, ok := g(c.gauge); ok {
				worst(c.to, clamp(v))
			} else if v, ok := si.meters[c.meter].rate(now, si.inst.interval); ok {
				worst(c.to, clamp(v))
			}
		}
		if in, ok := g(rules.RateIn); ok {
			if most, ok := g(rules.RateMax); ok && most > 0 {
				worst(&f.Busy, clamp(in/most))
			}
		}
		if v, ok := g(rules.Watermark); ok {
			worst(&f.WatermarkLag, math.Max(0, (float64(now)-v)/1000))
		}
		if v, ok := g(rules.Behind); ok {
			worst(&f.Behind, math.Max(0, v))
		}
		if v, ok := g(rules.Lag); ok {
			worst(&f.Lag, math.Max(0, v))
		}
		if v, ok := g(rules.Fill); ok {
			worst(&f.Fill, clamp(v))
		}
		q, ok := g(rules.Queued)
		if w, more := g(rules.Waiting); more {
			q, ok = q+w, true
		}
		if ok {
			sum(&f.Queue, math.Max(0, q))
			if c, ok := g(rules.Capacity); ok && c > 0 {
				worst(&f.Fill, clamp(q/c))
			}
		}
	}
	if n := len(st.restarts); n > 0 {
		from := st.restarts[0].v
		for _, p := range st.restarts {
			if p.at <= now-3_600_000 {
				from = p.v
			}
		}
		v := math.Max(0, st.restarts[n-1].v-from)
		f.Restarts = &v
	}
	return f
}

func clamp(v float64) float64 { return math.Min(math.Max(v, 0), 1) }
