package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gomodule/redigo/redis"
)

const (
	systemRedis = "redis"
	// redisBatch is how many streams are asked about in one exchange.
	redisBatch = 200
	// redisPartition is the partition label: a stream has one order.
	redisPartition = "0"
	// redisScanCount is how many keys one step of the search looks at.
	redisScanCount = 1000
)

// redisSystem asks one Redis about its streams. Positions are counts of entries ever added, which Redis 7.0 and newer keep.
// Of a Redis Cluster every master is asked about its own keys, so nothing needs to be routed.
type redisSystem struct {
	cfg   RedisConfig
	log   *slog.Logger
	nodes []*redisNode

	found  time.Time // when nodes were last looked for
	places map[groupKey]redisPlace
	round  uint64

	skippedStreams, skippedGroups, skippedLag, skippedOld, skippedGone *metrics.Counter
}

// redisNode is one server with the streams it holds.
type redisNode struct {
	addr    string
	conn    redis.Conn // nil or broken: connect before the next question
	keys    []string
	scanned time.Time // when the last whole search ended; zero: search again
	search  redisSearch
}

// redisPlace remembers how far a group had read. Once the entries after its last one are trimmed, Redis tells a lag
// without them, as if they had been read; but a group whose last id stands still has read nothing.
type redisPlace struct {
	id        string
	delivered uint64
	round     uint64
}

func newRedis(cfg RedisConfig, set *metrics.Set, log *slog.Logger) *redisSystem {
	skipped := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_skipped_total{system=%q,cluster=%q,reason=%q}`, systemRedis, cfg.Cluster, reason))
	}
	return &redisSystem{
		cfg: cfg, log: log, places: map[groupKey]redisPlace{}, skippedStreams: skipped("max_streams"), skippedGroups: skipped("max_groups"),
		skippedLag: skipped("lag_unknown"), skippedOld: skipped("old_server"), skippedGone: skipped("gone"),
	}
}

// open reads files and secrets once, so that a wrong one is told at once.
func (r *redisSystem) open() error {
	if _, err := r.cfg.options(); err != nil {
		return err
	}
	_, err := r.cfg.sentinelOptions()
	return err
}

func (r *redisSystem) close() {
	for _, n := range r.nodes {
		n.drop()
	}
	r.nodes, r.found = nil, time.Time{}
}

func (n *redisNode) drop() {
	if n.conn != nil {
		_ = n.conn.Close() // nothing is under way
		n.conn = nil
	}
}

func (r *redisSystem) dial(ctx context.Context, addr string, options func() ([]redis.DialOption, error)) (redis.Conn, error) {
	o, err := options()
	if err != nil {
		return nil, err
	}
	c, err := redis.DialContext(ctx, "tcp", addr, o...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %q: %w", addr, err)
	}
	return c, nil
}

// ready gives the connection of a node, a new one where the old one is broken.
func (r *redisSystem) ready(ctx context.Context, n *redisNode) (redis.Conn, error) {
	if n.conn != nil && n.conn.Err() != nil {
		n.drop()
	}
	if n.conn == nil {
		c, err := r.dial(ctx, n.addr, r.cfg.options)
		if err != nil {
			return nil, err
		}
		n.conn = c
	}
	return n.conn, nil
}

func (r *redisSystem) poll(ctx context.Context) (snapshot, error) {
	var snap snapshot
	if err := r.findNodes(ctx); err != nil {
		return snap, err
	}
	r.round++
	defer func() {
		for k, p := range r.places {
			if p.round+5 < r.round { // a poll may fail without the groups being gone
				delete(r.places, k)
			}
		}
	}()
	var errs []error
	for _, n := range r.nodes {
		if err := r.askNode(ctx, &snap, n); err != nil {
			n.drop()
			r.found = time.Time{} // the master may be another one by now
			errs = append(errs, err)
		}
	}
	snap.members = sumMembers(snap.members)
	return snap, errors.Join(errs...)
}

// sumMembers adds up groups of the same name on several streams: a group as a whole has one series.
func sumMembers(ms []memberState) []memberState {
	at := map[string]int{}
	out := ms[:0]
	for _, m := range ms {
		i, ok := at[m.group]
		if !ok {
			at[m.group] = len(out)
			out = append(out, m)
			continue
		}
		out[i].members += m.members
	}
	return out
}

// findNodes finds who is to be asked: the servers named, the master that Sentinel names, or the masters of a Redis Cluster.
func (r *redisSystem) findNodes(ctx context.Context) error {
	if len(r.nodes) > 0 && time.Since(r.found) < r.cfg.Scan {
		return nil
	}
	addrs := r.cfg.Addrs
	var errs []error
	for _, a := range r.cfg.Addrs {
		found, err := r.mastersBy(ctx, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(found) > 0 {
			addrs = found
		}
		errs = nil
		break
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	old := map[string]*redisNode{}
	for _, n := range r.nodes {
		old[n.addr] = n
	}
	r.nodes, r.found = nil, time.Now()
	for _, a := range addrs {
		n := old[a]
		if n == nil {
			n = &redisNode{addr: a}
		}
		delete(old, a)
		r.nodes = append(r.nodes, n)
	}
	for _, n := range old {
		n.drop()
	}
	return nil
}

// mastersBy asks one address who the masters are; none when it is a server that stands alone.
func (r *redisSystem) mastersBy(ctx context.Context, addr string) ([]string, error) {
	options := r.cfg.options
	if r.cfg.Master != "" {
		options = r.cfg.sentinelOptions
	}
	c, err := r.dial(ctx, addr, options)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // nothing is under way
	if r.cfg.Master != "" {
		at, err := redis.Strings(redis.DoContext(c, ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", r.cfg.Master))
		if err != nil || len(at) != 2 {
			return nil, fmt.Errorf("cannot learn from %q who the master %q is: %w", addr, r.cfg.Master, err)
		}
		return []string{net.JoinHostPort(at[0], at[1])}, nil
	}
	text, err := redis.String(redis.DoContext(c, ctx, "CLUSTER", "NODES"))
	if isRedisAnswer(err) {
		return nil, nil // no cluster, or no right to ask: the address itself
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask %q: %w", addr, err)
	}
	return redisMasters(text), nil
}

// redisMasters reads the answer of CLUSTER NODES, whose lines begin with id, host:port@bus[,name] and flags.
func redisMasters(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		flags := strings.Split(f[2], ",")
		if !slices.Contains(flags, "master") || slices.Contains(flags, "fail") || slices.Contains(flags, "noaddr") {
			continue
		}
		at, _, _ := strings.Cut(f[1], "@")
		if _, _, err := net.SplitHostPort(at); err == nil {
			out = append(out, at)
		}
	}
	return out
}

func (r *redisSystem) askNode(ctx context.Context, snap *snapshot, n *redisNode) error {
	if err := r.findStreams(ctx, n); err != nil {
		return err
	}
	for keys := range slices.Chunk(n.keys, redisBatch) {
		if err := r.ask(ctx, snap, n, keys); err != nil {
			return err
		}
	}
	return nil
}

// redisStream and redisGroup are what is read of a stream and a group.
type redisStream struct {
	length, added            int64
	gone                     int64 // entries that are not there any more
	first, last, maxDeletion string
}

type redisGroup struct {
	name               string
	consumers, pending int64
	lag                int64 // -1: Redis does not know
	last               string
}

// redisWait asks how old the oldest entry is that a group has not acknowledged.
type redisWait struct {
	group         int // index in the snapshot
	pending, next bool
	stream, name  string
	after         string
}

// ask asks about some streams: starts before groups, so that no start is beyond what was read by then, and groups before ends, so
// that no lag is negative; then for the oldest entry of those that wait.
func (r *redisSystem) ask(ctx context.Context, snap *snapshot, n *redisNode, keys []string) error {
	c, err := r.ready(ctx, n)
	if err != nil {
		return err
	}
	asked := redisPipe{c: c, ctx: ctx}
	for _, k := range keys {
		asked.send("XINFO", "STREAM", k)
		asked.send("XINFO", "GROUPS", k)
		asked.send("XINFO", "STREAM", k)
	}
	answers, err := asked.answers()
	if err != nil {
		return fmt.Errorf("cannot ask %q: %w", n.addr, err)
	}
	var errs []error
	var waits []redisWait
	for i, k := range keys {
		before, groups, stream := answers[3*i], answers[3*i+1], answers[3*i+2]
		if err := cmp.Or(redisFault(before), redisFault(groups), redisFault(stream)); err != nil {
			switch text := err.Error(); {
			case strings.Contains(text, "no such key"), strings.HasPrefix(text, "MOVED"): // Redis tells it in words only
				r.skippedGone.Inc()
				n.scanned = time.Time{} // look again
			default:
				errs = append(errs, fmt.Errorf("cannot ask about stream %q: %w", k, err))
			}
			continue
		}
		s := readRedisStream(stream)
		if old := readRedisStream(before); old.added <= s.added { // or it was made anew
			s.gone = old.gone
		}
		if s.added == 0 && s.length > 0 {
			r.skippedOld.Inc()
			errs = append(errs, fmt.Errorf("cannot place stream %q: this server does not count entries added; weir needs Redis 7.0 or newer", k))
			continue
		}
		snap.partitions = append(snap.partitions, redisPart(k, &s))
		list, _ := groups.([]any)
		for _, g := range list {
			if len(snap.groups) >= r.cfg.MaxGroups {
				r.skippedGroups.Inc()
				continue
			}
			rg := readRedisGroup(g)
			waits = r.group(snap, k, &s, &rg, waits)
		}
	}
	if err := r.askWaits(ctx, snap, c, waits); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *redisSystem) askWaits(ctx context.Context, snap *snapshot, c redis.Conn, waits []redisWait) error {
	asked := redisPipe{c: c, ctx: ctx}
	for _, w := range waits {
		if w.pending {
			asked.send("XPENDING", w.stream, w.name)
		}
		if w.next {
			asked.send("XRANGE", w.stream, w.after, "+", "COUNT", 1)
		}
	}
	answers, err := asked.answers()
	if err != nil {
		return fmt.Errorf("cannot read the oldest entries: %w", err)
	}
	for _, w := range waits {
		var oldest time.Time
		add := func(id string) {
			if t := redisTime(id); !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
				oldest = t
			}
		}
		if w.pending {
			if a, ok := answers[0].([]any); ok && len(a) > 1 { // count, smallest id, …
				add(redisText(a[1]))
			}
			answers = answers[1:]
		}
		if w.next {
			if a, ok := answers[0].([]any); ok && len(a) > 0 {
				if entry, ok := a[0].([]any); ok && len(entry) > 0 {
					add(redisText(entry[0]))
				}
			}
			answers = answers[1:]
		}
		snap.groups[w.group].committedAt = oldest
	}
	return nil
}

// redisPart places a stream: end is how many entries were ever added, start how many of them were gone from its head
// before its groups were asked.
// Entries deleted from the middle make both a bound only, like compaction does.
func redisPart(key string, i *redisStream) partitionState {
	end, length := uint64(max(i.added, 0)), uint64(max(i.length, 0))
	p := partitionState{
		destination: key, partition: redisPartition, start: min(uint64(max(i.gone, 0)), end), end: end, tells: toldMessages, messages: length,
		oldestAt: redisTime(i.first),
	}
	first := i.first
	if first == "" {
		first = i.last
	}
	p.compacted = i.maxDeletion != "" && compareRedisIDs(i.maxDeletion, first) >= 0 && i.maxDeletion != "0-0"
	return p
}

// group adds a group. Acknowledgements come in any order, so its position is a count: all that was added less what
// waits for delivery and what waits for acknowledgement.
func (r *redisSystem) group(snap *snapshot, key string, info *redisStream, g *redisGroup, waits []redisWait) []redisWait {
	snap.members = append(snap.members, memberState{group: g.name, kind: "stream", members: int(g.consumers), epoch: -1})
	if g.lag < 0 { // entries it has not read were deleted: Redis does not know how many wait
		r.skippedLag.Inc()
		return waits
	}
	end, lag, pending := uint64(max(info.added, 0)), uint64(g.lag), uint64(max(g.pending, 0))
	delivered := end - min(end, lag)
	k := groupKey{destination: key, partition: redisPartition, group: g.name}
	if old, ok := r.places[k]; ok && old.id == g.last && old.delivered < delivered {
		delivered = old.delivered
	}
	r.places[k] = redisPlace{g.last, delivered, r.round}
	// What was trimmed while it was pending had been delivered: the group may still finish it. Only what it never got is lost.
	start := min(uint64(max(info.gone, 0)), end)
	committed := max(delivered-min(delivered, pending), min(start, delivered))
	s := groupState{
		destination: key, partition: redisPartition, group: g.name, tells: toldDelivered | toldPending | toldUnacked, committed: committed, delivered: delivered,
		pending: end - delivered, unacked: pending,
	}
	if lag+pending > 0 {
		waits = append(waits, redisWait{
			group: len(snap.groups), pending: pending > 0, next: lag > 0, stream: key, name: g.name, after: "(" + g.last,
		})
	}
	snap.groups = append(snap.groups, s)
	return waits
}

// redisPipe sends questions together and reads their answers together.
type redisPipe struct {
	c    redis.Conn
	ctx  context.Context //nolint:containedctx // lives for one exchange
	n    int
	fail error
}

func (p *redisPipe) send(command string, args ...any) {
	if p.fail == nil {
		p.fail = p.c.Send(command, args...)
		p.n++
	}
}

// answers are as many as questions; an error of one of them is its answer.
func (p *redisPipe) answers() ([]any, error) {
	if p.fail != nil || p.n == 0 {
		return nil, p.fail
	}
	if err := p.c.Flush(); err != nil {
		return nil, err
	}
	out := make([]any, 0, p.n)
	for range p.n {
		v, err := redis.ReceiveContext(p.c, p.ctx)
		if err != nil && !isRedisAnswer(err) {
			return nil, err
		}
		if err != nil {
			v = err
		}
		out = append(out, v)
	}
	return out, nil
}

// isRedisAnswer says that the server answered with an error of one command; the connection is well.
func isRedisAnswer(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

func redisFault(answer any) error {
	err, _ := answer.(error)
	return err
}

func redisText(v any) string {
	s, err := redis.String(v, nil)
	if err != nil {
		return "" // nil, or of another kind than this command has
	}
	return s
}

// redisPairs walks the names and values of an answer of XINFO.
func redisPairs(v any, f func(name string, value any)) {
	list, _ := v.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		f(redisText(list[i]), list[i+1])
	}
}

func redisInt(v any) int64 {
	n, err := redis.Int64(v, nil)
	if err != nil {
		return 0
	}
	return n
}

func readRedisStream(v any) redisStream {
	var s redisStream
	redisPairs(v, func(name string, value any) {
		switch name {
		case "length":
			s.length = redisInt(value)
		case "entries-added":
			s.added = redisInt(value)
		case "last-generated-id":
			s.last = redisText(value)
		case "max-deleted-entry-id":
			s.maxDeletion = redisText(value)
		case "first-entry":
			if entry, ok := value.([]any); ok && len(entry) > 0 {
				s.first = redisText(entry[0])
			}
		}
	})
	s.gone = max(s.added-s.length, 0)
	return s
}

func readRedisGroup(v any) redisGroup {
	g := redisGroup{lag: -1}
	redisPairs(v, func(name string, value any) {
		switch name {
		case "name":
			g.name = redisText(value)
		case "consumers":
			g.consumers = redisInt(value)
		case "pending":
			g.pending = redisInt(value)
		case "last-delivered-id":
			g.last = redisText(value)
		case "lag":
			if n, ok := value.(int64); ok {
				g.lag = n
			}
		}
	})
	return g
}

// redisTime reads the milliseconds of an id. Ids may be chosen by the writer: what cannot be a time of day of ours is none.
func redisTime(id string) time.Time {
	ms, _, ok := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil {
		return time.Time{}
	}
	t := time.UnixMilli(n)
	if t.Year() < 2010 || t.Year() > 2100 {
		return time.Time{}
	}
	return t
}

func compareRedisIDs(a, b string) int {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	if c := compareNumbers(am, bm); c != 0 {
		return c
	}
	return compareNumbers(as, bs)
}

// compareNumbers compares decimal texts without leading zeros by value.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
