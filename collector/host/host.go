// Package host measures what this node, its containers and listed processes use: it reads /proc and the
// cgroup trees (v1 and v2) and hands remote-write samples to the collector's spool (docs/metrics-host.md).
//
// A file that is missing means series that are absent, never zeros; what has ended is marked stale.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// Tags says where something runs; it is the type that the origin part answers with.
type Tags = struct {
	Node, Service, Container string
	Guess                    bool
}

// Resolver knows the service of a container or process. It may be nil.
type Resolver interface {
	ByPID(pid int32) Tags
	ByContainerField(field string) Tags
}

// Config says what is read, and where.
type Config struct {
	Interval time.Duration `yaml:"interval"` // between readings, at least 1s
	// ProcRoot and CgroupRoot are /proc and /sys/fs/cgroup of the host, also when they are mounted elsewhere.
	ProcRoot   string `yaml:"proc_root"`
	CgroupRoot string `yaml:"cgroup_root"`
	// Node, Containers and Pressure switch parts on.
	Node       bool `yaml:"node"`       // CPU, memory, disks, network of the node
	Containers bool `yaml:"containers"` // usage and limits of containers
	Pressure   bool `yaml:"pressure"`   // PSI, of the node and of containers
	// Discover is how often containers and processes are looked for anew.
	Discover time.Duration `yaml:"discover"`
	// MaxContainers and MaxProcesses bound what is read; what exceeds them is counted in weir_host_skipped_total.
	MaxContainers int `yaml:"max_containers"`
	MaxProcesses  int `yaml:"max_processes"`
	// IgnoreDevices and IgnoreInterfaces are shell patterns of disks and network interfaces to leave out.
	IgnoreDevices    []string `yaml:"ignore_devices"`
	IgnoreInterfaces []string `yaml:"ignore_interfaces"`
	// Processes are services that run as plain processes.
	Processes []ProcessConfig `yaml:"processes"`
}

// ProcessConfig picks the processes of a service. Exactly one of PID, PIDFile, Comm and Cmdline is given.
type ProcessConfig struct {
	Service string `yaml:"service"`  // label service; must be given
	PID     int32  `yaml:"pid"`      // one process by its id
	PIDFile string `yaml:"pid_file"` // one process by the file that holds its id
	Comm    string `yaml:"comm"`     // shell pattern on the process name
	Cmdline string `yaml:"cmdline"`  // regular expression on the arguments, joined by spaces
}

// DefaultConfig reads the node and its containers every 5 seconds.
func DefaultConfig() Config {
	return Config{
		Interval: 5 * time.Second, ProcRoot: "/proc", CgroupRoot: "/sys/fs/cgroup",
		Node: true, Containers: true, Pressure: true, Discover: 15 * time.Second, MaxContainers: 1000, MaxProcesses: 256,
		IgnoreDevices:    []string{"loop*", "ram*", "zram*", "fd*", "sr*"},
		IgnoreInterfaces: []string{"lo", "veth*", "cali*", "cni*", "docker*", "br-*"},
	}
}

// Validate says what cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("host: "+format, a...)) }
	if c.Interval < time.Second {
		bad("interval %s is too short; use 1s or more", c.Interval)
	}
	if c.Discover < time.Second {
		bad("discover %s is too short; use 1s or more", c.Discover)
	}
	if c.ProcRoot == "" || c.CgroupRoot == "" {
		bad("proc_root %q and cgroup_root %q must name folders; use /proc and /sys/fs/cgroup", c.ProcRoot, c.CgroupRoot)
	}
	if c.MaxContainers < 1 || c.MaxProcesses < 1 {
		bad("max_containers %d and max_processes %d must be positive", c.MaxContainers, c.MaxProcesses)
	}
	for _, p := range append(append([]string{}, c.IgnoreDevices...), c.IgnoreInterfaces...) {
		if _, err := path.Match(p, ""); err != nil {
			bad("cannot read pattern %q; use * ? and [a-z]", p)
		}
	}
	for i, p := range c.Processes {
		if err := p.validate(); err != nil {
			bad("processes[%d]: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

func (p ProcessConfig) validate() error {
	n := 0
	for _, given := range []bool{p.PID != 0, p.PIDFile != "", p.Comm != "", p.Cmdline != ""} {
		if given {
			n++
		}
	}
	switch {
	case p.Service == "":
		return errors.New("service is empty; give the service whose processes these are")
	case n != 1:
		return fmt.Errorf("service %q has %d of pid, pid_file, comm and cmdline; give exactly one", p.Service, n)
	case p.PID < 0:
		return fmt.Errorf("pid %d of service %q is negative", p.PID, p.Service)
	}
	if _, err := path.Match(p.Comm, ""); err != nil {
		return fmt.Errorf("cannot read comm pattern %q; use * ? and [a-z]", p.Comm)
	}
	if _, err := regexp.Compile(p.Cmdline); err != nil {
		return fmt.Errorf("cannot read cmdline expression %q: %w", p.Cmdline, err)
	}
	return nil
}

// Monitor reads usage at every interval.
type Monitor struct {
	cfg   Config
	node  string
	out   signal.Output
	names Resolver
	log   *slog.Logger

	files     reader
	emit      *emitter
	groups    *cgroups
	processes *processes
	body      []byte
	complain  time.Time

	received, accepted, droppedSpool *metrics.Counter
}

// New builds a Monitor; nothing is read before Run. node is the label node; names may be nil.
func New(cfg Config, node string, out signal.Output, names Resolver, set *metrics.Set, log *slog.Logger) (*Monitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	skipped := func(what string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`weir_host_skipped_total{what=%q}`, what))
	}
	m := &Monitor{
		cfg: cfg, node: node, out: out, names: names, log: log,
		emit:         newEmitter(node, remotewrite.NewBatch()),
		received:     set.GetOrCreateCounter(`weir_collector_received_total{door="host"}`),
		accepted:     set.GetOrCreateCounter(`weir_collector_accepted_total{door="host"}`),
		droppedSpool: set.GetOrCreateCounter(`weir_collector_dropped_total{door="host",reason="spool"}`),
	}
	m.groups = newCgroups(cfg, skipped("containers"))
	m.processes = newProcesses(cfg, skipped("processes"))
	return m, nil
}

// Run reads at every interval until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		m.once(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// once reads everything; all samples carry the time it began.
func (m *Monitor) once(ctx context.Context, now time.Time) {
	m.emit.begin(now)
	if m.cfg.Node {
		m.readNode()
	}
	if m.cfg.Containers {
		m.readContainers(now)
	}
	if len(m.cfg.Processes) > 0 {
		m.readProcesses(now)
	}
	m.emit.end()
	n := m.emit.batch.Len()
	if n == 0 {
		return
	}
	m.received.Add(n)
	m.body = m.emit.batch.AppendTo(m.body[:0])
	if err := m.out.Append(ctx, signal.Samples, n, m.body); err != nil {
		m.droppedSpool.Add(n)
		if now.After(m.complain) {
			m.complain = now.Add(time.Minute)
			m.log.Error("cannot keep host samples", "error", err, "samples", n)
		}
		return
	}
	m.accepted.Add(n)
}
