// Package client counts records from inside an application and sends the counts to the node's weir collector.
//
// Calls of In, Out, Dropped … come from the application's own code; increments go as DogStatsD
// datagrams (docs/pipeline-model.md, wire forms) over a Unix socket or UDP. What cannot be sent is
// kept and sent later, so a collector that restarts costs nothing. The package imports only the standard library.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config names the stage that counts.
type Config struct {
	Addr     string        // "unix:///run/weir/statsd.sock" or "udp://127.0.0.1:8125"
	Pipeline string        // the pipeline this stage belongs to
	Stage    string        // this stage
	Service  string        // default: Stage
	Instance string        // tells instances of a stage apart, e.g. the container's name
	Window   time.Duration // event window, as configured in weir; default 60 s
	Flush    time.Duration // default 500 ms
	// MaxKept bounds the increments kept while nobody takes them; beyond it the oldest windows are
	// given up and counted in Lost. Default 10,000.
	MaxKept int
}

// Record is what the audit knows of one record.
type Record struct {
	ID    string    // the message's id; "" leaves it out of the fingerprints
	Time  time.Time // event time stamped at the origin; zero = not known
	Bytes int
}

type key struct {
	dir, dst, group, reason string
	window                  int64
}

type counts struct {
	n, bytes, sum, xor uint64
	newest             int64
}

// Client counts. It is safe for concurrent use.
type Client struct {
	cfg     Config
	network string
	addr    string
	suffix  string

	mu     sync.Mutex
	cells  map[key]counts
	plain  map[string]float64 // counters by name and tags
	values []string           // distribution lines
	lost   uint64

	conn net.Conn // owned by flush
}

// New builds a client. It does not connect yet: a collector that is not there is no error.
func New(cfg Config) (*Client, error) {
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
	c := &Client{cfg: cfg, network: network, addr: addr, cells: map[key]counts{}, plain: map[string]float64{}}
	if cfg.Instance != "" {
		c.suffix = "|c:ci-" + cfg.Instance
	}
	return c, nil
}

// In counts a record handed to this stage's code, read from source by group.
func (c *Client) In(source, group string, r Record) { c.count("in", source, group, "", r) }

// Out counts a record that the next hop acknowledged.
func (c *Client) Out(destination string, r Record) { c.count("out", destination, "", "", r) }

// Filtered counts a record left out on purpose.
func (c *Client) Filtered(r Record) { c.count("filtered", "", "", "", r) }

// Dropped counts a record given up, with a reason.
func (c *Client) Dropped(reason string, r Record) { c.count("dropped", "", "", reason, r) }

// DeadLettered counts a record put into a dead-letter destination.
func (c *Client) DeadLettered(destination string, r Record) { c.count("dlq", destination, "", "", r) }

// Lost is the number of records whose counts were given up because nobody took them for too long.
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

func (c *Client) count(dir, dst, group, reason string, r Record) {
	k := key{dir: dir, dst: dst, group: group, reason: reason}
	if !r.Time.IsZero() {
		w := int64(c.cfg.Window / time.Second)
		s := r.Time.Unix()
		k.window = s - ((s%w)+w)%w
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.cells[k]
	v.n++
	v.bytes += uint64(max(r.Bytes, 0))
	if r.ID != "" {
		h := Hash(r.ID)
		v.sum += h
		v.xor ^= h
	}
	if !r.Time.IsZero() {
		v.newest = max(v.newest, r.Time.UnixMilli())
	}
	c.cells[k] = v
}

// Run flushes until ctx ends, then once more.
func (c *Client) Run(ctx context.Context) {
	t := time.NewTicker(c.cfg.Flush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Flush(context.WithoutCancel(ctx))
			if c.conn != nil {
				c.conn.Close()
			}
			return
		case <-t.C:
			c.Flush(ctx)
		}
	}
}

// Flush sends what has been counted since the last flush; what cannot be sent is kept.
// It must not be called by two goroutines at once, nor beside Run.
func (c *Client) Flush(ctx context.Context) {
	c.mu.Lock()
	cells, plain, values := c.cells, c.plain, c.values
	c.cells, c.plain, c.values = make(map[key]counts, len(cells)), map[string]float64{}, nil
	c.mu.Unlock()
	var lines []line
	for _, v := range values {
		lines = append(lines, line{text: v})
	}
	for k, v := range plain {
		name, tags, _ := strings.Cut(k, "\x00")
		lines = append(lines, line{text: fmt.Sprintf("%s:%g|c|#%s%s", name, v, tags, c.suffix), plain: k, value: v})
	}
	for k, v := range cells {
		lines = append(lines, line{text: c.audit(k, v), cell: k, counts: v})
	}
	for len(lines) > 0 {
		n, size := 0, 0
		for n < len(lines) && (n == 0 || size+1+len(lines[n].text) <= 1400) {
			size += 1 + len(lines[n].text)
			n++
		}
		if err := c.send(ctx, lines[:n]); err != nil {
			c.keep(lines)
			return
		}
		lines = lines[n:]
	}
}

type line struct {
	text   string
	cell   key
	counts counts
	plain  string
	value  float64
}

func (c *Client) audit(k key, v counts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "weir.audit.%s:%d|c|#p:%s,st:%s", k.dir, v.n, c.cfg.Pipeline, c.cfg.Stage)
	if k.dst != "" {
		b.WriteString(",dst:" + k.dst)
	}
	if k.group != "" {
		b.WriteString(",g:" + k.group)
	}
	if k.window != 0 {
		fmt.Fprintf(&b, ",ew:%d", k.window)
	}
	if v.sum != 0 || v.xor != 0 {
		fmt.Fprintf(&b, ",fs:%016x,fx:%016x", v.sum, v.xor)
	}
	if v.newest != 0 {
		fmt.Fprintf(&b, ",mt:%d", v.newest)
	}
	if v.bytes != 0 {
		fmt.Fprintf(&b, ",by:%d", v.bytes)
	}
	if k.reason != "" {
		b.WriteString(",reason:" + k.reason)
	}
	b.WriteString(",svc:" + c.cfg.Service + c.suffix)
	return b.String()
}

func (c *Client) send(ctx context.Context, lines []line) error {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, c.network, c.addr)
		if err != nil {
			return err
		}
		c.conn = conn
	}
	var b []byte
	for i, l := range lines {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, l.text...)
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if err == nil {
		_, err = c.conn.Write(b)
	}
	if err != nil {
		c.conn.Close()
		c.conn = nil
	}
	return err
}

// keep adds unsent counts back, oldest windows given up first when there are too many.
func (c *Client) keep(lines []line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range lines {
		switch {
		case l.plain != "":
			c.plain[l.plain] += l.value
			continue
		case l.cell == key{}:
			continue // a single observation is not worth keeping
		}
		v := c.cells[l.cell]
		v.n += l.counts.n
		v.bytes += l.counts.bytes
		v.sum += l.counts.sum
		v.xor ^= l.counts.xor
		v.newest = max(v.newest, l.counts.newest)
		c.cells[l.cell] = v
	}
	over := len(c.cells) - c.cfg.MaxKept
	if over <= 0 {
		return
	}
	keys := make([]key, 0, len(c.cells))
	for k := range c.cells {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return int(a.window - b.window) })
	for _, k := range keys[:over] {
		c.lost += c.cells[k].n
		delete(c.cells, k)
	}
}

// Hash is the message hash of the audit contract: FNV-1a 64 of the id, then the splitmix64 finaliser.
func Hash(id string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(id) {
		h ^= uint64(id[i])
		h *= prime
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return h
}
