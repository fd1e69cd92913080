package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

// redisSearchTime bounds what one poll spends on the search for streams, together with a fifth of the poll's timeout.
const redisSearchTime = time.Second

// redisSearch is a search for streams under way. A large key space takes several polls; an error costs one step only.
type redisSearch struct {
	cursor string   // where it goes on; empty: no search is under way
	found  []string // so far, bounded; a key may be there twice
	whole  bool     // one search of this server has come to its end
}

// findStreams keeps the list of streams. A key space can be large: it is searched seldom, a little in each poll, and the list of
// the search before is asked about until the new one is whole. The first search has none, so what it found so far is asked about.
func (r *redisSystem) findStreams(ctx context.Context, n *redisNode) error {
	if len(r.cfg.Streams) > 0 {
		n.keys = r.cfg.Streams
		return nil
	}
	q := &n.search
	if q.cursor == "" {
		if !n.scanned.IsZero() && time.Since(n.scanned) < r.cfg.Scan {
			return nil
		}
		q.cursor, q.found = "0", nil
	}
	c, err := r.ready(ctx, n)
	if err != nil {
		return err
	}
	begin, most := time.Now(), min(redisSearchTime, r.cfg.Timeout/5)
	for done := false; !done; {
		if done, err = r.searchOn(ctx, n, c); err != nil {
			return err
		}
		if !done && time.Since(begin) >= most {
			if !q.whole {
				n.keys, _ = r.listed(q.found)
			}
			return nil
		}
	}
	keys, over := r.listed(q.found)
	r.skippedStreams.Add(over)
	n.keys, n.scanned = keys, time.Now()
	*q = redisSearch{whole: true}
	return nil
}

// searchOn takes one step of a search; true: it was the last.
func (r *redisSystem) searchOn(ctx context.Context, n *redisNode, c redis.Conn) (bool, error) {
	q := &n.search
	answer, err := redis.Values(redis.DoContext(c, ctx, "SCAN", q.cursor, "COUNT", redisScanCount, "TYPE", "stream"))
	if err == nil && len(answer) != 2 {
		err = fmt.Errorf("SCAN answered %d things, not 2", len(answer))
	}
	if err != nil {
		return false, fmt.Errorf("cannot search %q for streams: %w", n.addr, err)
	}
	page, err := redis.Strings(answer[1], nil)
	if err != nil {
		return false, fmt.Errorf("cannot search %q for streams: %w", n.addr, err)
	}
	cursor, err := redis.String(answer[0], nil)
	if err != nil {
		return false, fmt.Errorf("cannot search %q for streams: %w", n.addr, err)
	}
	for _, k := range page {
		if wanted(k, r.cfg.Include, r.cfg.Exclude) && len(q.found) < 4*r.cfg.MaxStreams { // a search may tell a key twice
			q.found = append(q.found, k)
		}
	}
	q.cursor = cursor
	return cursor == "0", nil
}

// listed is what of found is asked about, each key once, and how many are too many.
func (r *redisSystem) listed(found []string) (keys []string, over int) {
	keys = slices.Clone(found)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	over = max(len(keys)-r.cfg.MaxStreams, 0)
	return keys[:len(keys)-over], over
}
