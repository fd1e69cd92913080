// Package client counts records from inside an application and sends the counts to the node's weir collector.
//
// Calls of In, Out, Dropped … come from the application's own code; increments go as DogStatsD
// datagrams (docs/wire.md, audit counts) over a Unix socket or UDP. What cannot be sent is
// kept and sent later, so a collector that restarts costs nothing. The package imports only the standard library.
//
//	c, err := client.New(client.Config{Pipeline: "orders", Stage: "enrich"})
//	defer c.Start(ctx)()
//	c.In("orders", "enrich", client.FromHeaders(message.Header.Get))
package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Config names the stage that counts.
type Config struct {
	// Addr is "unix:///run/weir/statsd.sock" or "udp://127.0.0.1:8125"; default: the environment's WEIR_STATSD, else the latter.
	Addr     string
	Pipeline string        // the pipeline this stage belongs to
	Stage    string        // this stage
	Service  string        // default: Stage
	Instance string        // tells instances of a stage apart, e.g. the container's name
	Window   time.Duration // event window, as configured in weir; default: the environment's WEIR_WINDOW, like 10s, else 60 s
	Flush    time.Duration // default 500 ms
	// MaxKept bounds the increments kept while nobody takes them; beyond it the oldest windows are
	// given up and counted in Lost. Default 10,000.
	MaxKept int
	// NoIDs and NoLatency leave out the sample of ids and the time from the origin to In.
	NoIDs, NoLatency bool
}

// Record is what the audit knows of one record.
type Record struct {
	ID    string    // the message's id; "" leaves it out of fingerprints and samples
	Time  time.Time // event time stamped at the origin; zero = not known
	Bytes int
}

// Client counts. It is safe for concurrent use.
type Client struct {
	cfg     Config
	network string
	addr    string
	suffix  string

	mu     sync.Mutex
	cells  map[key]*counts
	plain  map[string]float64 // counters by name and tags
	values []string           // distribution lines
	lost   uint64
	untold map[int64]uint64 // of lost: not yet told to the collector, by window

	life life

	conn conn // owned by flush
}

// New builds a client. It does not connect yet: a collector that is not there is no error.
func New(cfg Config) (*Client, error) {
	if cfg.Addr == "" {
		cfg.Addr = os.Getenv("WEIR_STATSD")
	}
	if cfg.Addr == "" {
		cfg.Addr = "udp://127.0.0.1:8125"
	}
	network, addr, ok := strings.Cut(cfg.Addr, "://")
	switch {
	case ok && network == "unix":
		network = "unixgram"
	case ok && network == "udp":
	default:
		return nil, fmt.Errorf("cannot use address %q: must be like unix:///run/weir/statsd.sock or udp://127.0.0.1:8125", cfg.Addr)
	}
	for name, v := range map[string]string{"pipeline": cfg.Pipeline, "stage": cfg.Stage, "instance": cfg.Instance, "service": cfg.Service} {
		if strings.ContainsAny(v, ",|#:\n") {
			return nil, fmt.Errorf("cannot use %s %q: it must not contain , | # : or a line break", name, v)
		}
	}
	if cfg.Pipeline == "" || cfg.Stage == "" {
		return nil, errors.New("pipeline and stage must be named")
	}
	if cfg.Service == "" {
		cfg.Service = cfg.Stage
	}
	if s := os.Getenv("WEIR_WINDOW"); cfg.Window == 0 && s != "" {
		w, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf("cannot use WEIR_WINDOW %q: must be like 60s", s)
		}
		cfg.Window = w
	}
	if cfg.Window == 0 {
		cfg.Window = time.Minute
	}
	if cfg.Window%time.Second != 0 || cfg.Window < 0 {
		return nil, fmt.Errorf("cannot use window %s: must be whole seconds", cfg.Window)
	}
	if cfg.Flush == 0 {
		cfg.Flush = 500 * time.Millisecond
	}
	if cfg.MaxKept == 0 {
		cfg.MaxKept = 10_000
	}
	c := &Client{cfg: cfg, network: network, addr: addr, cells: map[key]*counts{}, plain: map[string]float64{}, untold: map[int64]uint64{}}
	if cfg.Instance != "" {
		c.suffix = "|c:ci-" + cfg.Instance
	}
	return c, nil
}

// In counts a record handed to this stage's code, read from source by group.
func (c *Client) In(source, group string, r Record) {
	c.count(key{dir: "in", dst: source, group: group}, r, 1)
}

// Out counts a record that the next hop acknowledged.
func (c *Client) Out(destination string, r Record) { c.count(key{dir: "out", dst: destination}, r, 1) }

// OutBatch counts a batch that the next hop acknowledged as one message, and its members. Without a time the batch has the oldest
// of its members.
func (c *Client) OutBatch(destination string, batch Record, members ...Record) {
	for _, m := range members {
		if batch.Time.IsZero() || !m.Time.IsZero() && m.Time.Before(batch.Time) {
			batch.Time = m.Time
		}
		c.count(key{dir: "covers", dst: destination}, m, 1)
	}
	c.Out(destination, batch)
}

// Covers counts n members of a batch put out, where they are not known one by one.
func (c *Client) Covers(destination string, batch Record, n int) {
	batch.ID = ""
	c.count(key{dir: "covers", dst: destination}, batch, n)
}

// Filtered counts a record left out on purpose.
func (c *Client) Filtered(r Record) { c.count(key{dir: "filtered"}, r, 1) }

// Dropped counts a record given up, with a reason.
func (c *Client) Dropped(reason string, r Record) {
	c.count(key{dir: "dropped", reason: clean(reason)}, r, 1)
}

// DeadLettered counts a record put into a dead-letter destination.
func (c *Client) DeadLettered(destination string, r Record) {
	c.count(key{dir: "dlq", dst: destination}, r, 1)
}

// Failed counts a record that was tried and failed, and of which nothing is decided yet.
func (c *Client) Failed(r Record) { c.count(key{dir: "failed"}, r, 1) }

// Retried counts a record that is tried again; Out counts it once, when it has arrived.
func (c *Client) Retried(r Record) { c.count(key{dir: "retried"}, r, 1) }

// Lost is the number of records whose counts were given up because nobody took them for too long. The collector is told, so that
// what they would have shown is UNKNOWN and not LOSS.
func (c *Client) Lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Count adds to an ordinary counter; tags are "key:value".
func (c *Client) Count(name string, n float64, tags ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := name + "\x00" + strings.Join(append(tags, "service:"+c.cfg.Service), ",")
	if _, had := c.plain[k]; !had && len(c.plain) >= c.cfg.MaxKept {
		return
	}
	c.plain[k] += n
}

// Observe adds one value of a distribution (type d); at most MaxKept wait for the next flush.
func (c *Client) Observe(name string, v float64, tags ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.values) >= c.cfg.MaxKept {
		return
	}
	c.values = append(c.values, fmt.Sprintf("%s:%g|d|#%s%s", name, v, strings.Join(append(tags, "service:"+c.cfg.Service), ","), c.suffix))
}

func (c *Client) count(k key, r Record, n int) {
	if n <= 0 {
		return
	}
	k.dst, k.group = clean(k.dst), clean(k.group)
	if !r.Time.IsZero() {
		w := int64(c.cfg.Window / time.Second)
		s := r.Time.Unix()
		k.window = s - ((s%w)+w)%w
	}
	h := uint64(0)
	if r.ID != "" {
		h = Hash(r.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.cells[k]
	if v == nil {
		v = &counts{m: minM, stride: 1}
		c.cells[k] = v
	}
	c.holds(k.dir, uint64(n))
	v.n += uint64(n)
	v.bytes += uint64(max(r.Bytes, 0))
	if r.ID != "" {
		v.sum += h
		v.xor ^= h
		v.hashed++
		if !c.cfg.NoIDs {
			v.sample(h, r.ID)
		}
	}
	if r.Time.IsZero() {
		return
	}
	v.newest = max(v.newest, r.Time.UnixMilli())
	if k.dir == "in" && !c.cfg.NoLatency {
		v.observe(float64(time.Since(r.Time)) / float64(time.Millisecond))
	}
}

// clean keeps a name from breaking the line it is sent in.
func clean(s string) string {
	if !strings.ContainsAny(s, ",|#\n") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(",|#\n", r) {
			return '_'
		}
		return r
	}, s)
}

// Start flushes in the background until the function it returns is called, which sends what is left. It goes on when ctx ends:
// what is still under way is counted as well. Of a process that ends without that call the collector knows how much it may
// not have told: the windows concerned become UNKNOWN instead of LOSS.
func (c *Client) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	c.begin()
	wg.Go(func() { c.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// Run flushes until ctx ends, then once more.
func (c *Client) Run(ctx context.Context) {
	c.begin()
	t := time.NewTicker(c.cfg.Flush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Flush(context.WithoutCancel(ctx))
			c.end()
			c.conn.close()
			return
		case <-t.C:
			c.Flush(ctx)
		}
	}
}
