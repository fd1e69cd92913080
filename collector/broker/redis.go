package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/redis/go-redis/v9"
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
type redisSystem struct {
	cfg    RedisConfig
	log    *slog.Logger
	client redis.UniversalClient

	keys    []string
	scanned time.Time
	places  map[groupKey]redisPlace
	round   uint64

	skippedStreams, skippedGroups, skippedLag, skippedOld, skippedGone *metrics.Counter
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

func (r *redisSystem) open() error {
	o, err := r.cfg.options()
	if err != nil {
		return err
	}
	r.client = redis.NewUniversalClient(o)
	return nil
}

func (r *redisSystem) close() {
	if err := r.client.Close(); err != nil {
		r.log.Debug("cannot close connection", "error", err)
	}
}

func (r *redisSystem) poll(ctx context.Context) (snapshot, error) {
	var snap snapshot
	if err := r.find(ctx); err != nil {
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
	for keys := range slices.Chunk(r.keys, redisBatch) {
		if err := r.ask(ctx, &snap, keys); err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return snap, errors.Join(errs...)
}

// find keeps the list of streams. A key space can be large: it is searched seldom, and a stream found once is asked about until it is gone.
func (r *redisSystem) find(ctx context.Context) error {
	if len(r.cfg.Streams) > 0 {
		r.keys = r.cfg.Streams
		return nil
	}
	if !r.scanned.IsZero() && time.Since(r.scanned) < r.cfg.Scan {
		return nil
	}
	var mu sync.Mutex
	var keys []string
	search := func(ctx context.Context, c redis.Cmdable) error {
		it := c.ScanType(ctx, 0, "*", redisScanCount, "stream").Iterator()
		for it.Next(ctx) {
			if k := it.Val(); wanted(k, r.cfg.Include, r.cfg.Exclude) {
				mu.Lock()
				if len(keys) < 4*r.cfg.MaxStreams { // a search may tell a key twice
					keys = append(keys, k)
				}
				mu.Unlock()
			}
		}
		return it.Err()
	}
	var err error
	if c, ok := r.client.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error { return search(ctx, m) })
	} else {
		err = search(ctx, r.client)
	}
	if err != nil {
		return fmt.Errorf("cannot search %s for streams: %w", strings.Join(r.cfg.Addrs, ","), err)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if n := len(keys) - r.cfg.MaxStreams; n > 0 {
		r.skippedStreams.Add(n)
		keys = keys[:r.cfg.MaxStreams]
	}
	r.keys, r.scanned = keys, time.Now()
	return nil
}

// redisStream gathers what is asked about one stream.
type redisStream struct {
	key    string
	groups *redis.XInfoGroupsCmd
	info   *redis.XInfoStreamCmd
}

// redisWait asks how old the oldest entry is that a group has not acknowledged.
type redisWait struct {
	group   int // index in the snapshot
	pending *redis.XPendingCmd
	next    *redis.XMessageSliceCmd
}

// ask asks about some streams: groups first, ends after, so that no lag is negative; then for the oldest entry of those that wait.
func (r *redisSystem) ask(ctx context.Context, snap *snapshot, keys []string) error {
	streams := make([]redisStream, len(keys))
	pipe := r.client.Pipeline()
	for i, k := range keys {
		streams[i] = redisStream{key: k, groups: pipe.XInfoGroups(ctx, k)}
	}
	for i := range streams {
		streams[i].info = pipe.XInfoStream(ctx, streams[i].key)
	}
	if _, err := pipe.Exec(ctx); err != nil && !isRedisAnswer(err) {
		return fmt.Errorf("cannot ask %s: %w", strings.Join(r.cfg.Addrs, ","), err)
	}
	var errs []error
	var waits []redisWait
	later := r.client.Pipeline()
	for i := range streams {
		s := &streams[i]
		info, err := s.info.Result()
		groups, err2 := s.groups.Result()
		if err = errors.Join(err, err2); err != nil {
			if strings.Contains(err.Error(), "no such key") { // Redis tells it in words only
				r.skippedGone.Inc()
				r.scanned = time.Time{} // look again
				continue
			}
			errs = append(errs, fmt.Errorf("cannot ask about stream %q: %w", s.key, err))
			continue
		}
		if info.EntriesAdded == 0 && info.Length > 0 {
			r.skippedOld.Inc()
			errs = append(errs, fmt.Errorf("cannot place stream %q: this server does not count entries added; weir needs Redis 7.0 or newer", s.key))
			continue
		}
		snap.partitions = append(snap.partitions, redisPart(s.key, info))
		for j := range groups {
			if len(snap.groups) >= r.cfg.MaxGroups {
				r.skippedGroups.Inc()
				continue
			}
			r.group(ctx, snap, s.key, info, &groups[j], later, &waits)
		}
	}
	if len(waits) > 0 {
		if _, err := later.Exec(ctx); err != nil && !isRedisAnswer(err) {
			errs = append(errs, fmt.Errorf("cannot read the oldest entries: %w", err))
		}
		for _, w := range waits {
			snap.groups[w.group].committedAt = w.oldest()
		}
	}
	return errors.Join(errs...)
}

// isRedisAnswer says that the server answered with an error of one command; the others have their answers.
func isRedisAnswer(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

// redisPart places a stream: end is how many entries were ever added, start how many of them are gone from its head.
// Entries deleted from the middle make both a bound only, like compaction does.
func redisPart(key string, i *redis.XInfoStream) partitionState {
	end, length := uint64(max(i.EntriesAdded, 0)), uint64(max(i.Length, 0))
	p := partitionState{
		destination: key, partition: redisPartition, start: end - min(end, length), end: end, tells: toldMessages, messages: length,
		oldestAt: redisTime(i.FirstEntry.ID),
	}
	first := i.FirstEntry.ID
	if first == "" {
		first = i.LastGeneratedID
	}
	p.compacted = i.MaxDeletedEntryID != "" && compareRedisIDs(i.MaxDeletedEntryID, first) >= 0 && i.MaxDeletedEntryID != "0-0"
	return p
}

// group adds a group. Acknowledgements come in any order, so its position is a count: all that was added less what
// waits for delivery and what waits for acknowledgement.
func (r *redisSystem) group(ctx context.Context, snap *snapshot, key string, info *redis.XInfoStream, g *redis.XInfoGroup, later redis.Pipeliner, waits *[]redisWait) {
	snap.members = append(snap.members, memberState{group: g.Name, kind: "stream", members: int(g.Consumers), epoch: -1})
	if g.Lag < 0 { // entries it has not read were deleted: Redis does not know how many wait
		r.skippedLag.Inc()
		return
	}
	end, lag, pending := uint64(max(info.EntriesAdded, 0)), uint64(g.Lag), uint64(max(g.Pending, 0))
	delivered := end - min(end, lag)
	k := groupKey{destination: key, partition: redisPartition, group: g.Name}
	if old, ok := r.places[k]; ok && old.id == g.LastDeliveredID && old.delivered < delivered {
		delivered = old.delivered
	}
	r.places[k] = redisPlace{g.LastDeliveredID, delivered, r.round}
	// What was trimmed while it was pending had been delivered: the group may still finish it. Only what it never got is lost.
	start := end - min(end, uint64(max(info.Length, 0)))
	committed := max(delivered-min(delivered, pending), min(start, delivered))
	s := groupState{
		destination: key, partition: redisPartition, group: g.Name, tells: toldDelivered | toldPending | toldUnacked, committed: committed, delivered: delivered,
		pending: end - delivered, unacked: pending,
	}
	if lag+pending > 0 {
		w := redisWait{group: len(snap.groups)}
		if pending > 0 {
			w.pending = later.XPending(ctx, key, g.Name)
		}
		if lag > 0 {
			w.next = later.XRangeN(ctx, key, "("+g.LastDeliveredID, "+", 1)
		}
		*waits = append(*waits, w)
	}
	snap.groups = append(snap.groups, s)
}

// oldest is the time of the oldest entry that waits; zero when it cannot be told.
func (w *redisWait) oldest() time.Time {
	var out time.Time
	add := func(id string) {
		if t := redisTime(id); !t.IsZero() && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	if w.pending != nil {
		if p, err := w.pending.Result(); err == nil && p != nil {
			add(p.Lower)
		}
	}
	if w.next != nil {
		if m, err := w.next.Result(); err == nil && len(m) > 0 {
			add(m[0].ID)
		}
	}
	return out
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
