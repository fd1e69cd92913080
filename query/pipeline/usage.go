package pipeline

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
)

// usage of the processes of one service, which is a stage of the same name.
type usage struct {
	cpu, throttled *float64 // cores; share of quota periods in which the quota ran out
	instances      int
}

type usageBook struct {
	by   map[string]usage
	next int64
}

// readUsage takes the use of the last minute from what collectors measure: containers where there are any,
// else processes. It looks every ten seconds.
func (t *tenant) readUsage(ctx context.Context, now int64) error {
	if now < t.usage.next {
		return nil
	}
	t.usage.next = now + 10_000
	stages := map[string]bool{}
	for _, p := range t.pipes {
		for i := range p.topo.Stages {
			stages[p.topo.Stages[i].Name] = true
		}
	}
	t.usage.by = map[string]usage{}
	if len(stages) == 0 {
		return nil
	}
	q, err := t.s.engine.Metrics().Querier(t.id, now-60_000, now)
	if err != nil {
		return fmt.Errorf("cannot read usage: %w", err)
	}
	defer func() { _ = q.Close() }()
	sumRates := func(name string) (map[string]float64, map[string]int, error) {
		rates, instances := map[string]float64{}, map[string]int{}
		var service string
		var first, last sample
		flush := func() {
			if service != "" && last.at > first.at && last.v >= first.v {
				rates[service] += (last.v - first.v) / (float64(last.at-first.at) / 1000)
				instances[service]++
			}
			service, first, last = "", sample{}, sample{}
		}
		err := each(ctx, q, name, func(ls labels.Labels) bool {
			flush()
			service = ls.Get("service")
			if !stages[service] {
				service = ""
			}
			return service != ""
		}, func(at int64, v float64) {
			if first.at == 0 || v < last.v { // the first, or a restart
				first = sample{at, v}
			}
			last = sample{at, v}
		})
		flush()
		return rates, instances, err
	}
	containers, n, err := sumRates("weir_container_cpu_usage_seconds_total")
	if err != nil {
		return fmt.Errorf("cannot read usage of containers: %w", err)
	}
	processes, m, err := sumRates("weir_process_cpu_seconds_total")
	if err != nil {
		return fmt.Errorf("cannot read usage of processes: %w", err)
	}
	periods, _, err := sumRates("weir_container_cpu_periods_total")
	if err != nil {
		return fmt.Errorf("cannot read quota periods: %w", err)
	}
	throttled, _, err := sumRates("weir_container_cpu_throttled_periods_total")
	if err != nil {
		return fmt.Errorf("cannot read throttled periods: %w", err)
	}
	for s := range stages {
		u := usage{}
		if v, ok := containers[s]; ok {
			u.cpu, u.instances = &v, n[s]
		} else if v, ok := processes[s]; ok {
			u.cpu, u.instances = &v, m[s]
		}
		if p := periods[s]; p > 0 {
			share := min(throttled[s]/p, 1)
			u.throttled = &share
		}
		if u.cpu != nil || u.throttled != nil {
			t.usage.by[s] = u
		}
	}
	return nil
}
