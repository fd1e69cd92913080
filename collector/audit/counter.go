// Package audit counts audit increments into cumulative cells.
//
// Increments come from statsd lines, OTLP sums and spans; cells go, as snapshots of what changed, to the
// collector's output and from there to /api/v1/audit. A snapshot replaces the earlier ones of its cell, so
// sending twice changes nothing, and what a crash can lose is what came after the last snapshot: the next
// run says so in its Auditor record.
package audit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

// Increment is one thing to count. A Key.Width of 0 means the configured width; Key.Window may be any
// time inside its window, and 0 when there is no event time. Samples and slices are only read, during the call.
//
// It is an alias of a struct without a name, so that receivers can declare the interface they need from a
// Counter without importing this package.
type Increment = struct {
	Key                     cell.Key
	Instance, Service, Node string
	Counts                  cell.Counts
	Lossy                   bool
	IDs                     *cell.IDs    // sample of the ids among what is counted; nil = none taken
	Latency                 *cell.Sketch // time from the origin stamp to here; nil = not measured
	Values                  []float64    // or the latencies themselves, milliseconds, each of which stands for Weight records
	Weight                  uint64
}

// Errors of Add and Set, to be told apart with errors.Is.
var (
	ErrFull      = errors.New("too many audit cells in memory")
	ErrTimestamp = error(timestampError{})
	ErrClosed    = errors.New("audit counter is closed")
	ErrKey       = errors.New("bad audit key")
)

// timestampError lets receivers that know no Counter tell a bad event time from a bound: they ask for BadTimestamp.
type timestampError struct{}

func (timestampError) Error() string { return "bad event time" }

// BadTimestamp is always true.
func (timestampError) BadTimestamp() bool { return true }

// maxFuture is how far ahead of the clock an event time may lie.
const maxFuture = 24 * time.Hour

const (
	shards = 16
	maxKey = 256 // longest name in a key, bytes
)

// Counter holds the cells of one run of the collector.
type Counter struct {
	cfg   Config
	dir   string
	node  string
	out   signal.Output
	log   *slog.Logger
	seed  maphash.Seed
	cells atomic.Int64

	shard [shards]shard

	drops   atomic.Uint64
	carried atomic.Uint64 // most records that one datagram of increments stood for
	windows windowRange   // of what is being counted now
	mu      sync.Mutex    // guards the fields below
	dropped span          // windows the drops may belong to
	auditor cell.Auditor
	past    []run // runs before this one that are not yet reported
	closed  atomic.Bool

	// After a notime cell was forgotten, a new one of the same key must not be taken for it.
	forgotNotime atomic.Bool

	lives   lives
	samples sampleMeters
	clock   func() (offset, bound time.Duration, ok bool)

	added, setted, refusedFull, refusedTime, refusedKey, refusedClosed *metrics.Counter
	snapshots, sentCells, failures, evicted                            *metrics.Counter
}

// id tells cells apart in memory. Epoch is 0 for what this process counts itself, else the sender's.
type id struct {
	cell.Key
	Instance string
	Epoch    int64
}

type shard struct {
	mu sync.Mutex
	m  map[id]*entry
}

type entry struct {
	service, node string
	instance      string // as sent; differs from the id's for a cell that came back after it was forgotten
	counts        cell.Counts
	ids           *cell.IDs
	latency       *cell.Sketch
	corrected     *cell.Sketch // latency by the server's clock, where this node's is known to differ
	size          int64        // of the three, bytes
	lossy         bool
	touched       time.Time
	changed       time.Time // when a count last grew; totals that are only repeated touch without changing
	version       uint64    // grows with every change
	synced        uint64    // version of the last snapshot on disk
	seq           uint64    // of the last snapshot made
}

// New builds a Counter that keeps its state file in dir and gives its snapshots to out; cfg must be valid.
// node names the collector in Auditor records.
func New(cfg Config, dir, node string, out signal.Output, log *slog.Logger, set *metrics.Set) *Counter {
	c := &Counter{cfg: cfg, dir: dir, node: node, out: out, log: log, seed: maphash.MakeSeed()}
	for i := range c.shard {
		c.shard[i].m = map[id]*entry{}
	}
	c.lives.m = map[lifeKey]*life{}
	c.lives.refused = set.NewCounter("weir_audit_senders_refused_total")
	c.lives.killed = set.NewCounter("weir_audit_senders_ended_silently_total")
	c.lives.silent = set.NewCounter("weir_audit_senders_silent_total")
	c.added = set.NewCounter(`weir_audit_increments_total{result="added"}`)
	c.setted = set.NewCounter(`weir_audit_increments_total{result="set"}`)
	c.refusedFull = set.NewCounter(`weir_audit_increments_total{result="full"}`)
	c.refusedTime = set.NewCounter(`weir_audit_increments_total{result="bad_ts"}`)
	c.refusedKey = set.NewCounter(`weir_audit_increments_total{result="bad_key"}`)
	c.refusedClosed = set.NewCounter(`weir_audit_increments_total{result="closed"}`)
	c.snapshots = set.NewCounter("weir_audit_snapshots_total")
	c.sentCells = set.NewCounter("weir_audit_snapshot_cells_total")
	c.failures = set.NewCounter("weir_audit_snapshot_failures_total")
	c.evicted = set.NewCounter("weir_audit_cells_forgotten_total")
	c.samples = newSampleMeters(set)
	set.NewGauge("weir_audit_cells", func() float64 { return float64(c.cells.Load()) })
	set.NewGauge("weir_audit_known_drops", func() float64 { return float64(c.drops.Load()) })
	return c
}

// Add counts inc. It is safe for concurrent use. An increment that is refused for want of memory or
// because the counter is closed is also counted as a drop in the Auditor record; one with a bad event
// time or key is not, since no other stage can count it either.
func (c *Counter) Add(inc Increment) error {
	now := time.Now()
	k, err := c.admit(&inc, now)
	if err != nil {
		return err
	}
	if k.Window != 0 {
		inc.Counts.LateMax = max(inc.Counts.LateMax, now.UnixMilli()-(k.Window+k.Width)*1000, 0)
	}
	s := c.shardOf(id{k, inc.Instance, 0})
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := c.entry(s, id{k, inc.Instance, 0}, now)
	if err != nil {
		return err
	}
	e.service, e.node = inc.Service, inc.Node
	e.counts.Add(inc.Counts)
	c.addSamples(e, &inc)
	e.lossy = e.lossy || inc.Lossy
	e.touched, e.changed = now, now
	e.version++
	c.added.Inc()
	return nil
}

// Set takes the cumulative totals of a sender that started at epoch (Unix ms). A later total of the same
// epoch replaces the earlier one, a new epoch is added to it; a smaller total of the same epoch came late
// and changes nothing. It says by how many records the total grew.
//
// Totals of several times inside one window (a sender with shorter windows that names no width) add up, in whatever
// order and share they come: each goes as an epoch of its own, later by as many milliseconds as its time lies seconds
// after the start of the window. No instance begins again so soon.
func (c *Counter) Set(inc Increment, epoch int64) (grown uint64, err error) {
	now := time.Now()
	if epoch <= 0 {
		c.refusedKey.Inc()
		return 0, fmt.Errorf("cannot count totals of instance %q with epoch %d: the start of the sender in Unix ms is needed: %w", inc.Instance, epoch, ErrKey)
	}
	k, err := c.admit(&inc, now)
	if err != nil {
		return 0, err
	}
	i := id{k, inc.Instance, epoch + inc.Key.Window - k.Window}
	s := c.shardOf(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := c.entry(s, i, now)
	if err != nil {
		return 0, err
	}
	c.setted.Inc()
	e.touched = now
	if c.setSamples(e, &inc) {
		e.version++
	}
	if inc.Counts.N < e.counts.N {
		return 0, nil
	}
	if k.Window != 0 && inc.Counts.N > e.counts.N {
		inc.Counts.LateMax = max(inc.Counts.LateMax, now.UnixMilli()-(k.Window+k.Width)*1000)
	}
	inc.Counts.LateMax = max(inc.Counts.LateMax, e.counts.LateMax)
	inc.Counts.MaxTS = max(inc.Counts.MaxTS, e.counts.MaxTS)
	if e.version > 0 && e.counts == inc.Counts && e.lossy == inc.Lossy {
		return 0, nil
	}
	if grown = inc.Counts.N - e.counts.N; grown > 0 {
		e.changed = now
	}
	e.service, e.node, e.lossy, e.counts = inc.Service, inc.Node, inc.Lossy, inc.Counts
	e.version++
	return grown, nil
}

// Drops says that n audit increments are known to be lost, in the kernel or because they could not be read.
func (c *Counter) Drops(n uint64) {
	if n == 0 {
		return
	}
	now := time.Now().Unix()
	w := int64(c.cfg.Width / time.Second)
	// Whatever was lost travelled beside what is being counted; with nothing to go by, it is of the present.
	s := c.windows.span().union(span{now - 2*w, now + w})
	c.mu.Lock()
	c.dropped = c.dropped.union(s)
	c.mu.Unlock()
	c.drops.Add(n)
}

// Carried says that the increments of one datagram stood for n records, so that a lost one may have held as many.
func (c *Counter) Carried(n uint64) {
	for old := c.carried.Load(); n > old && !c.carried.CompareAndSwap(old, n); old = c.carried.Load() {
	}
}

// Lost says that a sender gave up the counts of n records of the event window that holds a time, Unix seconds; 0 = not known.
func (c *Counter) Lost(at int64, n uint64) {
	w := int64(c.cfg.Width / time.Second)
	if now := time.Now(); at < now.Add(-c.cfg.Retention).Unix() || at > now.Add(maxFuture).Unix() {
		c.Drops(n)
		return
	}
	if n > 0 {
		c.lostIn(span{at - at%w, at - at%w + w}, n)
	}
}

func (c *Counter) dropIn(k cell.Key) {
	s := span{k.Window, k.Window + k.Width}
	if k.Window == 0 {
		s = span{}
	}
	c.lostIn(s, 1)
}

func (c *Counter) lostIn(s span, n uint64) {
	c.mu.Lock()
	c.dropped = c.dropped.union(s)
	c.mu.Unlock()
	c.drops.Add(n)
}

// admit checks the key and brings its window to the start of the window.
func (c *Counter) admit(inc *Increment, now time.Time) (cell.Key, error) {
	k := inc.Key
	if k.Width == 0 {
		k.Width = int64(c.cfg.Width / time.Second)
	}
	if k.Width < 0 || k.Width > int64(24*time.Hour/time.Second) {
		c.refusedKey.Inc()
		return k, fmt.Errorf("cannot count a window of %d seconds: it must be between 1 and 86400: %w", k.Width, ErrKey)
	}
	if k.Pipeline == "" || k.Stage == "" || !slices.Contains(cell.Dirs(), k.Dir) && !slices.Contains(cell.SpanDirs(), k.Dir) {
		c.refusedKey.Inc()
		return k, fmt.Errorf("cannot count pipeline %q stage %q direction %q: all three must be given: %w", k.Pipeline, k.Stage, k.Dir, ErrKey)
	}
	for _, s := range [...]string{k.Pipeline, k.Stage, k.Destination, k.Group, k.Reason, inc.Instance, inc.Service} {
		if len(s) > maxKey {
			c.refusedKey.Inc()
			return k, fmt.Errorf("cannot count a key with a name of %d bytes (%q…): shorten it to %d: %w", len(s), s[:32], maxKey, ErrKey)
		}
	}
	if k.Window != 0 {
		if lo, hi := now.Add(-c.cfg.Retention).Unix(), now.Add(maxFuture).Unix(); k.Window < lo || k.Window > hi {
			c.refusedTime.Inc()
			return k, fmt.Errorf("cannot count event window %d: it must lie between %d and %d (audit.retention %s): %w", k.Window, lo, hi, c.cfg.Retention, ErrTimestamp)
		}
		k.Window -= k.Window % k.Width
		c.windows.see(k.Window, k.Window+k.Width)
	}
	if c.closed.Load() {
		c.refusedClosed.Inc()
		c.dropIn(k)
		return k, ErrClosed
	}
	return k, nil
}

func (c *Counter) shardOf(i id) *shard {
	return &c.shard[maphash.Comparable(c.seed, i)%shards]
}

// entry finds or makes the cell; its shard is locked.
func (c *Counter) entry(s *shard, i id, now time.Time) (*entry, error) {
	if c.closed.Load() { // again: the last snapshot has visited this shard
		c.refusedClosed.Inc()
		c.dropIn(i.Key)
		return nil, ErrClosed
	}
	if e, ok := s.m[i]; ok {
		return e, nil
	}
	if c.cells.Add(1) > int64(c.cfg.MaxCells) {
		c.cells.Add(-1)
		c.refusedFull.Inc()
		c.dropIn(i.Key)
		return nil, fmt.Errorf("cannot count pipeline %q stage %q: raise audit.max_cells (%d) or use fewer names: %w", i.Pipeline, i.Stage, c.cfg.MaxCells, ErrFull)
	}
	e := &entry{instance: i.Instance}
	if i.Epoch == 0 && c.mayBeForgotten(i.Key, now) {
		// An earlier cell of this key may have been delivered and forgotten. Starting again from zero under the
		// same name would replace it; under a name of its own it adds up.
		e.instance = i.Instance + "~" + strconv.FormatInt(now.UnixMilli(), 10)
	}
	s.m[i] = e
	return e, nil
}

func (c *Counter) mayBeForgotten(k cell.Key, now time.Time) bool {
	if k.Window == 0 {
		return c.forgotNotime.Load()
	}
	return !time.Unix(k.Window+k.Width, 0).Add(c.cfg.Idle).After(now)
}
