package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
)

// usage of the processes of one service, which is a stage of the same name.
type usage struct {
	cpu, throttled *float64 // cores; share of quota periods in which the quota ran out
	instances      int
	boxes          []answer.ContainerRow // containers, else processes; busiest first
}

type usageBook struct {
	by   map[string]usage
	next int64
}

// maxBoxes bounds the containers of one service.
const maxBoxes = 1000

// box gathers the figures of one container, or of one process that is in none.
type box struct {
	row                answer.ContainerRow
	process            bool
	periods, throttled float64
}

type boxKey struct{ node, container, pid, service string }

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
			for _, s := range t.servedBy(p, p.topo.Stages[i].Name) {
				stages[s] = true
			}
		}
		for _, in := range p.offsets {
			stages[in.Group] = true
		}
	}
	t.usage.by = map[string]usage{}
	if len(stages) == 0 {
		return nil
	}
	boxes, err := t.readBoxes(ctx, stages, now)
	if err != nil {
		return err
	}
	byService := map[string][]*box{}
	for k, b := range boxes {
		byService[k.service] = append(byService[k.service], b)
	}
	for s, list := range byService {
		t.usage.by[s] = usageOf(list)
	}
	return nil
}

func usageOf(list []*box) usage {
	if slices.ContainsFunc(list, func(b *box) bool { return !b.process && b.row.CPU != nil }) {
		list = slices.DeleteFunc(list, func(b *box) bool { return b.process })
	}
	var u usage
	var periods, throttled float64
	for _, b := range list {
		u.cpu = addRate(u.cpu, b.row.CPU)
		if b.row.CPU != nil {
			u.instances++
		}
		periods += b.periods
		throttled += b.throttled
		if b.periods > 0 {
			share := min(b.throttled/b.periods, 1)
			b.row.Throttled = &share
		}
		u.boxes = append(u.boxes, b.row)
	}
	if periods > 0 {
		share := min(throttled/periods, 1)
		u.throttled = &share
	}
	slices.SortFunc(u.boxes, func(a, b answer.ContainerRow) int {
		return cmp.Or(-cmp.Compare(orZero(a.CPU), orZero(b.CPU)), strings.Compare(a.Node, b.Node), strings.Compare(a.Container, b.Container))
	})
	return u
}

func (t *tenant) readBoxes(ctx context.Context, stages map[string]bool, now int64) (map[boxKey]*box, error) {
	boxes := map[boxKey]*box{}
	q, err := t.s.engine.Metrics().Querier(t.id, now-60_000, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read usage: %w", err)
	}
	defer func() { _ = q.Close() }()
	hour, err := t.s.engine.Metrics().Querier(t.id, now-3_600_000, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read usage: %w", err)
	}
	defer func() { _ = hour.Close() }()
	own := func(v float64) *float64 { return &v }
	for _, f := range []struct {
		name    string
		process bool
		hour    bool
		take    func(b *box, first, last sample)
	}{
		{"weir_container_cpu_usage_seconds_total", false, false, func(b *box, first, last sample) { b.row.CPU = rateOf(first, last) }},
		{"weir_container_cpu_limit_cores", false, false, func(b *box, _, last sample) { b.row.CPULimit = own(last.v) }},
		{"weir_container_cpu_periods_total", false, false, func(b *box, first, last sample) { b.periods = last.v - first.v }},
		{"weir_container_cpu_throttled_periods_total", false, false, func(b *box, first, last sample) { b.throttled = last.v - first.v }},
		{"weir_container_memory_working_set_bytes", false, false, func(b *box, _, last sample) { b.row.Memory = own(last.v) }},
		{"weir_container_memory_limit_bytes", false, false, func(b *box, _, last sample) { b.row.MemLimit = own(last.v) }},
		{"weir_container_memory_oom_kills_total", false, true, func(b *box, first, last sample) { b.row.OOM = own(last.v - first.v) }},
		{"weir_process_cpu_seconds_total", true, false, func(b *box, first, last sample) { b.row.CPU = addRate(b.row.CPU, rateOf(first, last)) }},
		{"weir_process_resident_memory_bytes", true, false, func(b *box, _, last sample) { b.row.Memory = own(last.v) }},
	} {
		from := q
		if f.hour {
			from = hour
		}
		var b *box
		var first, last sample
		flush := func() {
			if b != nil && last.at > 0 {
				f.take(b, first, last)
			}
			b, first, last = nil, sample{}, sample{}
		}
		err := series.Each(ctx, from, f.name, func(ls labels.Labels) bool {
			flush()
			s := ls.Get("service")
			if !stages[s] {
				return false
			}
			k := boxKey{ls.Get("node"), ls.Get("container"), ls.Get("pid"), s}
			if !f.process {
				k.pid = ""
			}
			if b = boxes[k]; b == nil {
				if len(boxes) >= maxBoxes*len(stages) || f.hour {
					return false
				}
				b = &box{process: f.process, row: answer.ContainerRow{Node: k.node, Container: k.container, Service: s, Version: cmp.Or(ls.Get("version"), ls.Get("service_version"))}}
				if k.container == "" && k.pid != "" {
					b.row.Container = "pid " + k.pid
				}
				boxes[k] = b
			}
			return true
		}, func(at int64, v float64) {
			if first.at == 0 || v < last.v && strings.HasSuffix(f.name, "_total") { // the first, or a restart
				first = sample{at, v}
			}
			last = sample{at, v}
		})
		flush()
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", f.name, err)
		}
	}
	for k, b := range boxes { // nothing was used between two samples: it is not there any more, or just began
		if b.row.CPU == nil && b.row.Memory == nil {
			delete(boxes, k)
		}
	}
	return boxes, nil
}

func rateOf(first, last sample) *float64 {
	if last.at <= first.at || last.v < first.v {
		return nil
	}
	v := (last.v - first.v) / (float64(last.at-first.at) / 1000)
	return &v
}

// useOf is what the search for a cause looks at: the sum of the service, and the container nearest to its limits.
func (t *tenant) useOf(services []string) flow.Use {
	var u flow.Use
	worst := -1.0
	for _, s := range services {
		x, ok := t.usage.by[s]
		if !ok {
			continue
		}
		u.CPU = addRate(u.CPU, x.cpu)
		if x.throttled != nil && (u.Throttled == nil || *x.throttled > *u.Throttled) {
			u.Throttled = x.throttled
		}
		for i := range x.boxes {
			b := &x.boxes[i]
			u.CPULimit = addRate(u.CPULimit, b.CPULimit)
			u.OOM = addRate(u.OOM, b.OOM)
			if b.Memory != nil && b.MemLimit != nil && *b.MemLimit > 0 && *b.Memory / *b.MemLimit > worst {
				worst = *b.Memory / *b.MemLimit
				u.Memory, u.MemLimit = b.Memory, b.MemLimit
			}
		}
	}
	return u
}

// versionsOf are the versions its containers name, joined.
func versionsOf(u usage) string {
	var out []string
	for i := range u.boxes {
		if v := u.boxes[i].Version; v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
