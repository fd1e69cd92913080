// Package origin answers who sent something: which node, service and container.
//
// Its evidence is the process id that the kernel attaches to a Unix datagram, or the container field
// that a DogStatsD client writes; it reads /proc and the cgroup tree, and its answers become the labels
// node, service and container of everything the collector ships.
package origin

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Tags says where something came from; empty fields are unknown. Guess is set when Service is
// only the name of the process or of its systemd unit, so that a sender's own word is better.
//
// It is an alias of a struct without a name, so that parts of the collector can declare the interface
// they need from a Resolver without importing this package.
type Tags = struct {
	Node, Service, Container string
	Guess                    bool
}

// Config of a Resolver.
type Config struct {
	Node       string            `yaml:"node"`        // name of this node; empty: the host name
	ProcRoot   string            `yaml:"proc_root"`   // where the host's /proc is mounted
	CgroupRoot string            `yaml:"cgroup_root"` // where the host's cgroup tree is mounted
	Services   map[string]string `yaml:"services"`    // container id (or ≥ 12 first digits), pod uid, systemd unit or process name → service
	CacheSize  int               `yaml:"cache_size"`  // processes and containers remembered, each
	CacheTTL   time.Duration     `yaml:"cache_ttl"`   // how long an answer is kept before the cgroup is read again
}

// DefaultConfig returns the settings of a collector that runs on the host.
func DefaultConfig() Config {
	return Config{ProcRoot: "/proc", CgroupRoot: "/sys/fs/cgroup", CacheSize: 4096, CacheTTL: time.Minute}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if c.ProcRoot == "" || c.CgroupRoot == "" {
		return fmt.Errorf("cannot use origin.proc_root %q and origin.cgroup_root %q: both must name a folder; use /proc and /sys/fs/cgroup", c.ProcRoot, c.CgroupRoot)
	}
	if c.CacheSize < 1 || c.CacheSize > 1_000_000 {
		return fmt.Errorf("cannot use origin.cache_size %d: it must be between 1 and 1000000", c.CacheSize)
	}
	if c.CacheTTL < time.Second {
		return fmt.Errorf("cannot use origin.cache_ttl %s: it must be at least 1s", c.CacheTTL)
	}
	for k, v := range c.Services {
		if k == "" || v == "" {
			return fmt.Errorf("cannot use origin.services entry %q: %q: both sides must be given", k, v)
		}
	}
	return nil
}

// recheck is how often a cached process is looked at again: within it, a process id is taken not to be reused.
const recheck = time.Second

// Resolver finds origins. It is safe for concurrent use.
type Resolver struct {
	cfg  Config
	node string

	mu         sync.Mutex
	pids       *lru[int32, process]
	containers *lru[string, Tags]
	inodes     map[uint64]string // cgroup inode → container id
	walked     time.Time

	hits, misses, unknown *metrics.Counter
	truncated             *metrics.Counter
}

type process struct {
	tags    Tags
	start   uint64    // clock ticks after boot; 0 = the process was gone
	checked time.Time // when start was last compared
	expires time.Time
}

// New builds a Resolver; cfg must be valid. Without a configured node name it takes the host's.
func New(cfg Config, set *metrics.Set) *Resolver {
	r := &Resolver{
		cfg:        cfg,
		node:       nodeName(cfg),
		pids:       newLRU[int32, process](cfg.CacheSize),
		containers: newLRU[string, Tags](cfg.CacheSize),
		hits:       set.NewCounter(`weir_origin_lookups_total{result="cached"}`),
		misses:     set.NewCounter(`weir_origin_lookups_total{result="read"}`),
		unknown:    set.NewCounter(`weir_origin_lookups_total{result="unknown"}`),
		truncated:  set.NewCounter(`weir_origin_cgroup_walks_truncated_total`),
	}
	return r
}

func nodeName(cfg Config) string {
	if cfg.Node != "" {
		return cfg.Node
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	// Without a host name every node of a cluster would look the same; the kernel's machine-wide id at least differs.
	if b, err := os.ReadFile(filepath.Join(cfg.ProcRoot, "sys", "kernel", "random", "boot_id")); err == nil {
		return strings.TrimSpace(string(b))
	}
	return "localhost"
}

// Self returns the collector's own origin: the node alone.
func (r *Resolver) Self() Tags { return Tags{Node: r.node} }

// ByPID returns the origin of the process with this id, as socket credentials give it.
// A process that cannot be read has only a node.
func (r *Resolver) ByPID(pid int32) Tags {
	if pid <= 0 {
		return r.Self()
	}
	now := time.Now()
	r.mu.Lock()
	p, ok := r.pids.get(pid)
	r.mu.Unlock()
	if ok && now.Sub(p.checked) < recheck {
		r.hits.Inc()
		return p.tags
	}
	start := r.startTime(pid)
	switch {
	case ok && start == 0 && now.Before(p.expires):
		// The process has ended; what is still queued on the socket is its own.
		r.hits.Inc()
	case ok && start == p.start && now.Before(p.expires):
		r.hits.Inc()
	default:
		r.misses.Inc()
		p = process{tags: r.read(pid), start: start, expires: now.Add(r.cfg.CacheTTL)}
		if start == 0 || r.startTime(pid) != start {
			// The id changed hands while it was read: nobody's answer is better than a stranger's.
			p.tags = r.Self()
			r.unknown.Inc()
		}
	}
	p.checked = now
	r.mu.Lock()
	r.pids.put(pid, p)
	if p.tags.Container != "" && p.tags.Service != "" {
		r.containers.put(p.tags.Container, p.tags)
	}
	r.mu.Unlock()
	return p.tags
}

// startTime is field 22 of /proc/<pid>/stat; 0 when the process is gone.
func (r *Resolver) startTime(pid int32) uint64 {
	b, err := readSmall(r.proc(pid, "stat"))
	if err != nil {
		return 0
	}
	// The name of the process stands in brackets and may hold spaces and brackets itself.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	const field = 22 - 3
	if len(f) <= field {
		return 0
	}
	t, err := strconv.ParseUint(f[field], 10, 64)
	if err != nil {
		return 0
	}
	return t
}

func (r *Resolver) read(pid int32) Tags {
	t := Tags{Node: r.node}
	var place place
	if b, err := readSmall(r.proc(pid, "cgroup")); err == nil {
		place = parseCgroup(string(b))
	}
	t.Container = place.container
	comm := ""
	if b, err := readSmall(r.proc(pid, "comm")); err == nil {
		comm = strings.TrimSpace(string(b))
	}
	if s := r.service(place.container, place.pod, place.unit, comm); s != "" {
		t.Service = s
		return t
	}
	t.Guess = true
	t.Service = place.unit
	if t.Service == "" {
		t.Service = comm
	}
	return t
}

// service looks names up in the configured map, the most telling first.
func (r *Resolver) service(container string, names ...string) string {
	if len(r.cfg.Services) == 0 {
		return ""
	}
	if s := r.cfg.Services[container]; s != "" && container != "" {
		return s
	}
	const short = 12
	for n := len(container) - 1; n >= short; n-- {
		if s := r.cfg.Services[container[:n]]; s != "" {
			return s
		}
	}
	for _, n := range names {
		if s := r.cfg.Services[n]; n != "" && s != "" {
			return s
		}
	}
	return ""
}

func (r *Resolver) proc(pid int32, file string) string {
	return filepath.Join(r.cfg.ProcRoot, strconv.Itoa(int(pid)), file)
}

// readSmall reads a file of /proc, at most 64 KiB of it.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 0, 1024)
	for len(b) < 64<<10 {
		if len(b) == cap(b) {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil || n == 0 {
			break
		}
	}
	return b, nil
}
