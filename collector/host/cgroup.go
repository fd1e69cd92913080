package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Bounds of the search for containers.
const (
	maxDepth   = 10
	maxFolders = 20_000
)

var (
	ctrCPU        = figure{name: "weir_container_cpu_usage_seconds_total", help: "CPU time used.", unit: "seconds", counter: true}
	ctrPeriods    = figure{name: "weir_container_cpu_periods_total", help: "Quota periods that have passed.", counter: true}
	ctrThrottled  = figure{name: "weir_container_cpu_throttled_periods_total", help: "Quota periods in which the quota ran out.", counter: true}
	ctrThrottle   = figure{name: "weir_container_cpu_throttled_seconds_total", help: "Time stopped because the quota had run out.", unit: "seconds", counter: true}
	ctrCPULimit   = figure{name: "weir_container_cpu_limit_cores", help: "CPU quota in cores; absent when there is none."}
	ctrMemory     = figure{name: "weir_container_memory_usage_bytes", help: "Memory charged, page cache included.", unit: "bytes"}
	ctrWorkingSet = figure{name: "weir_container_memory_working_set_bytes", help: "Memory charged without the inactive page cache.", unit: "bytes"}
	ctrRSS        = figure{name: "weir_container_memory_rss_bytes", help: "Anonymous memory.", unit: "bytes"}
	ctrMemLimit   = figure{name: "weir_container_memory_limit_bytes", help: "Memory limit; absent when there is none.", unit: "bytes"}
	ctrMemHits    = figure{name: "weir_container_memory_limit_hits_total", help: "Times the limit was reached and memory had to be reclaimed.", counter: true}
	ctrOOM        = figure{name: "weir_container_memory_oom_total", help: "Times memory could not be had.", counter: true}
	ctrOOMKills   = figure{name: "weir_container_memory_oom_kills_total", help: "Processes killed for want of memory.", counter: true}
	ctrPIDs       = figure{name: "weir_container_pids", help: "Tasks in the container."}
	ctrPIDLimit   = figure{name: "weir_container_pids_limit", help: "Most tasks allowed; absent when there is no limit."}
	ctrWaiting    = figure{name: "weir_container_pressure_waiting_seconds_total", help: "Time in which some task waited for the resource (PSI some).", unit: "seconds", extra: "resource", counter: true}
	ctrStalled    = figure{name: "weir_container_pressure_stalled_seconds_total", help: "Time in which every task waited for the resource (PSI full).", unit: "seconds", extra: "resource", counter: true}
)

// cgroup is one container's place in the tree.
type cgroup struct {
	id   string
	path string // below the root (v2) or below each controller (v1)
}

// cgroups finds the containers of the node.
type cgroups struct {
	root    string
	max     int
	every   time.Duration
	skipped *metrics.Counter

	v2      bool
	v1      v1Roots
	list    []cgroup
	found   map[string]bool
	folders int
	looked  time.Time
}

// v1Roots are the trees of the controllers that are read.
type v1Roots struct{ cpu, cpuacct, memory, pids string }

func newCgroups(cfg Config, skipped *metrics.Counter) *cgroups {
	return &cgroups{root: cfg.CgroupRoot, max: cfg.MaxContainers, every: cfg.Discover, skipped: skipped}
}

// discover looks for containers when it is time to.
func (c *cgroups) discover(now time.Time) {
	if !c.looked.IsZero() && now.Sub(c.looked) < c.every {
		return
	}
	c.looked = now
	c.list, c.found, c.folders = c.list[:0], map[string]bool{}, 0
	_, err := os.Stat(filepath.Join(c.root, "cgroup.controllers"))
	c.v2 = err == nil
	if c.v2 {
		c.walk(c.root, "", 0)
		return
	}
	tree := func(names ...string) string {
		for _, n := range names {
			p := filepath.Join(c.root, n)
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
		return ""
	}
	c.v1 = v1Roots{cpu: tree("cpu", "cpu,cpuacct"), cpuacct: tree("cpuacct", "cpu,cpuacct"), memory: tree("memory"), pids: tree("pids")}
	for _, root := range []string{c.v1.memory, c.v1.cpu} { // one of them is enough
		if root != "" {
			c.walk(root, "", 0)
			return
		}
	}
}

func (c *cgroups) walk(root, rel string, depth int) {
	c.folders++
	if depth > maxDepth || c.folders > maxFolders {
		c.skipped.Inc()
		return
	}
	entries, err := os.ReadDir(filepath.Join(root, rel))
	if err != nil {
		return // gone
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below := filepath.Join(rel, e.Name())
		if id := containerID(e.Name()); id != "" && !c.found[id] {
			if len(c.list) >= c.max {
				c.skipped.Inc()
				continue
			}
			c.found[id] = true
			c.list = append(c.list, cgroup{id: id, path: below})
		}
		c.walk(root, below, depth+1)
	}
}

// containerID finds 64 hexadecimal digits: <id>, docker-<id>.scope, cri-containerd-<id>.scope, libpod-<id>.scope and the like.
func containerID(name string) string {
	if strings.Contains(name, "conmon") {
		return "" // the watcher of a container has a cgroup named after it
	}
	run := 0
	for i := range len(name) + 1 {
		if i < len(name) && (name[i]-'0' <= 9 || (name[i] >= 'a' && name[i] <= 'f')) {
			run++
			continue
		}
		if run == 64 {
			return name[i-64 : i]
		}
		run = 0
	}
	return ""
}

func (m *Monitor) readContainers(now time.Time) {
	m.groups.discover(now)
	for _, g := range m.groups.list {
		s := m.emit.subjects["container/"+g.id]
		if s == nil {
			container, service := g.id, ""
			if m.names != nil {
				t := m.names.ByContainerField("ci-" + g.id)
				service = t.Service
				if t.Container != "" {
					container = t.Container
				}
			}
			s = m.emit.subject("container/"+g.id, 0, "container", container, "service", service)
		}
		s.round = m.emit.round
		if m.groups.v2 {
			m.readV2(s, filepath.Join(m.groups.root, g.path))
		} else {
			m.readV1(s, g.path)
		}
	}
}

func (m *Monitor) readV2(s *subject, dir string) {
	m.files.pairs(filepath.Join(dir, "cpu.stat"), func(key string, v float64) {
		switch key {
		case "usage_usec":
			m.emit.put(s, &ctrCPU, "", v/1e6)
		case "nr_periods":
			m.emit.put(s, &ctrPeriods, "", v)
		case "nr_throttled":
			m.emit.put(s, &ctrThrottled, "", v)
		case "throttled_usec":
			m.emit.put(s, &ctrThrottle, "", v/1e6)
		}
	})
	if b, err := m.files.read(filepath.Join(dir, "cpu.max")); err == nil {
		if quota, period, ok := bytes.Cut(bytes.TrimSpace(b), []byte(" ")); ok {
			q, ok1 := parse(quota) // "max" is no number
			p, ok2 := parse(period)
			if ok1 && ok2 && p > 0 {
				m.emit.put(s, &ctrCPULimit, "", q/p)
			}
		}
	}
	usage, ok := m.files.number(filepath.Join(dir, "memory.current"))
	if ok {
		m.emit.put(s, &ctrMemory, "", usage)
		m.files.pairs(filepath.Join(dir, "memory.stat"), func(key string, v float64) {
			switch key {
			case "inactive_file":
				m.emit.put(s, &ctrWorkingSet, "", max(usage-v, 0))
			case "anon":
				m.emit.put(s, &ctrRSS, "", v)
			}
		})
	}
	if v, ok := m.files.number(filepath.Join(dir, "memory.max")); ok {
		m.emit.put(s, &ctrMemLimit, "", v)
	}
	m.files.pairs(filepath.Join(dir, "memory.events"), func(key string, v float64) {
		switch key {
		case "max":
			m.emit.put(s, &ctrMemHits, "", v)
		case "oom":
			m.emit.put(s, &ctrOOM, "", v)
		case "oom_kill":
			m.emit.put(s, &ctrOOMKills, "", v)
		}
	})
	m.readPIDs(s, dir)
	if m.cfg.Pressure {
		for _, resource := range []string{"cpu", "io", "memory"} {
			m.readPressure(s, filepath.Join(dir, resource+".pressure"), resource, &ctrWaiting, &ctrStalled)
		}
	}
}

func (m *Monitor) readPIDs(s *subject, dir string) {
	if v, ok := m.files.number(filepath.Join(dir, "pids.current")); ok {
		m.emit.put(s, &ctrPIDs, "", v)
	}
	if v, ok := m.files.number(filepath.Join(dir, "pids.max")); ok {
		m.emit.put(s, &ctrPIDLimit, "", v)
	}
}

// noLimit is where version 1's "no limit" begins: the largest page-aligned int64, or near it.
const noLimit = 1 << 60

func (m *Monitor) readV1(s *subject, path string) {
	if root := m.groups.v1.cpuacct; root != "" {
		if v, ok := m.files.number(filepath.Join(root, path, "cpuacct.usage")); ok {
			m.emit.put(s, &ctrCPU, "", v/1e9)
		}
	}
	if root := m.groups.v1.cpu; root != "" {
		dir := filepath.Join(root, path)
		m.files.pairs(filepath.Join(dir, "cpu.stat"), func(key string, v float64) {
			switch key {
			case "nr_periods":
				m.emit.put(s, &ctrPeriods, "", v)
			case "nr_throttled":
				m.emit.put(s, &ctrThrottled, "", v)
			case "throttled_time":
				m.emit.put(s, &ctrThrottle, "", v/1e9)
			}
		})
		quota, ok1 := m.files.number(filepath.Join(dir, "cpu.cfs_quota_us"))
		period, ok2 := m.files.number(filepath.Join(dir, "cpu.cfs_period_us"))
		if ok1 && ok2 && quota > 0 && period > 0 {
			m.emit.put(s, &ctrCPULimit, "", quota/period)
		}
	}
	if root := m.groups.v1.memory; root != "" {
		m.readV1Memory(s, filepath.Join(root, path))
	}
	if root := m.groups.v1.pids; root != "" {
		m.readPIDs(s, filepath.Join(root, path))
	}
}

func (m *Monitor) readV1Memory(s *subject, dir string) {
	usage, ok := m.files.number(filepath.Join(dir, "memory.usage_in_bytes"))
	if ok {
		m.emit.put(s, &ctrMemory, "", usage)
		m.files.pairs(filepath.Join(dir, "memory.stat"), func(key string, v float64) {
			switch key {
			case "total_inactive_file":
				m.emit.put(s, &ctrWorkingSet, "", max(usage-v, 0))
			case "total_rss":
				m.emit.put(s, &ctrRSS, "", v)
			}
		})
	}
	if v, ok := m.files.number(filepath.Join(dir, "memory.limit_in_bytes")); ok && v < noLimit {
		m.emit.put(s, &ctrMemLimit, "", v)
	}
	if v, ok := m.files.number(filepath.Join(dir, "memory.failcnt")); ok {
		m.emit.put(s, &ctrMemHits, "", v)
	}
	m.files.pairs(filepath.Join(dir, "memory.oom_control"), func(key string, v float64) {
		if key == "oom_kill" {
			m.emit.put(s, &ctrOOMKills, "", v)
		}
	})
}
