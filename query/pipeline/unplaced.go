package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

// unplacedBook holds, by broker, what it gave up without saying of which destination. That is no pipeline's loss, and is told
// among the changes of all of them.
type unplacedBook map[brokers.ClusterKey]*unplaced

type unplaced struct {
	window int64 // beginning of the newest window that was added, Unix seconds
	from   int64 // of the first one in sums
	sums   map[brokers.Discard]float64
	noted  int64 // Unix milliseconds
}

const (
	// unplacedEvery is how often one broker is noted at most, milliseconds: a page shows twenty changes, and there are others.
	unplacedEvery = 600_000
	// unplacedRest is how long after its end a window is read, milliseconds: its last poll may be on the way.
	unplacedRest = 15_000
	// unplacedNew is how old a window may be that is told at first sight, seconds: a restart does not tell the last hour as new.
	unplacedNew = 300
	maxUnplaced = 1000 // brokers
	maxReasons  = 10   // in one note
)

// add takes in the windows of a queue without a name that are whole and were not yet added.
func (b *unplacedBook) add(q *brokers.Queue, now int64, overflow brokers.Counter) {
	if *b == nil {
		*b = unplacedBook{}
	}
	u := (*b)[q.ClusterKey]
	if u == nil {
		if len(*b) >= maxUnplaced {
			overflow.Inc()
			return
		}
		u = &unplaced{window: now/1000 - unplacedNew, sums: map[brokers.Discard]float64{}}
		(*b)[q.ClusterKey] = u
	}
	for _, w := range q.DiscardWindows() {
		if w <= u.window || (w+brokers.DiscardWidth)*1000+unplacedRest > now {
			continue
		}
		u.window = w
		for why, n := range q.DiscardsIn(w) {
			if n < 1 || !why.GivenUp() {
				continue
			}
			if len(u.sums) == 0 {
				u.from = w
			}
			u.sums[why] += n
		}
	}
}

// due says in sentences what was added since each broker was last told of, and forgets brokers that have long told nothing.
func (b unplacedBook) due(now int64) []string {
	var out []string
	for k, u := range b {
		switch {
		case len(u.sums) == 0 && now/1000-u.window > 2*3600:
			delete(b, k)
		case len(u.sums) > 0 && now-u.noted >= unplacedEvery:
			out = append(out, u.sentence(k))
			u.noted = now
			clear(u.sums)
		}
	}
	slices.Sort(out)
	return out
}

func (u *unplaced) sentence(k brokers.ClusterKey) string {
	type part struct {
		why brokers.Discard
		n   float64
	}
	parts := make([]part, 0, len(u.sums))
	for why, n := range u.sums {
		parts = append(parts, part{why, n})
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(-cmp.Compare(a.n, b.n), strings.Compare(a.why.Reason, b.why.Reason), cmp.Compare(dead(a.why), dead(b.why)))
	})
	texts := make([]string, 0, maxReasons)
	for i, p := range parts {
		if i == maxReasons-1 && len(parts) > maxReasons {
			texts = append(texts, fmt.Sprintf("others for %d more reasons", len(parts)-i))
			break
		}
		text := flow.Count(int64(p.n)) + " " + cmp.Or(p.why.Reason, "for no reason told")
		if p.why.DeadLettered {
			text += " (moved to a dead-letter destination)"
		}
		texts = append(texts, text)
	}
	return fmt.Sprintf("%s %s gave up records since %s and does not say of which destination: %s.", k.System, k.Cluster, time.Unix(u.from, 0).UTC().Format("15:04:05 UTC"), strings.Join(texts, ", "))
}

func dead(d brokers.Discard) int {
	if d.DeadLettered {
		return 1
	}
	return 0
}
