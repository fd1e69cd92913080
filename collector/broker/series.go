package broker

import (
	"iter"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"

	"github.com/weirhq/weir/collector/remotewrite"
)

// labelled names what a series is about: pairs that follow node, system and cluster.
type labelled interface{ labels() []string }

// seriesSet holds the prepared series of one partition, one group on one partition, and so on.
type seriesSet struct {
	made  []madeSeries // what had a value once; few of the figures ever do
	round uint64       // last poll that saw it
}

type madeSeries struct {
	*remotewrite.Series
	figure uint8
	live   bool // had a value in the poll before
}

type partitionKey struct{ destination, partition string }

// readerKey is a group on a destination; its partitions are a level of their own, because they are many.
type readerKey struct {
	destination, group string
	ephemeral          bool
}

// destinationKey and memberKey hold what makes a series of its own: another id or state is another series.
type destinationKey struct {
	destination, id, reason string
	dead                    bool
}

func (k destinationKey) labels() []string {
	ls := []string{"destination", k.destination, "id", k.id, "reason", k.reason}
	if k.dead {
		ls = append(ls, "dead_lettered", "true")
	}
	return ls
}

type memberKey struct {
	group, kind, state string
	whole              bool // of the group, whatever its state
}

func (k memberKey) labels() []string {
	return []string{"group", k.group, "type", k.kind, "state", k.state}
}

func (p *partitionState) labels() []string {
	return []string{"destination", p.destination, "partition", p.partition}
}

func (g *groupState) labels() []string {
	ls := []string{"destination", g.destination, "partition", g.partition, "group", g.group}
	if g.ephemeral {
		ls = append(ls, "ephemeral", "true")
	}
	return ls
}

// maxBatch is how many samples go into one request: a server takes no endless ones, and the spool writes smaller ones sooner.
const maxBatch = 50_000

// seriesCache prepares every series once and marks the ones that vanish as stale. One goroutine.
type seriesCache struct {
	base  []string
	owner seriesSet
	whole seriesSet
	round uint64
	parts map[partitionKey]*seriesSet
	group map[readerKey]map[string]*seriesSet
	dests map[destinationKey]*seriesSet
	membs map[memberKey]*seriesSet

	full func() // empties the batch that has maxBatch samples
}

func newSeriesCache(node, system, cluster string) *seriesCache {
	return &seriesCache{
		base:  []string{"node", node, "system", system, "cluster", cluster},
		parts: map[partitionKey]*seriesSet{},
		group: map[readerKey]map[string]*seriesSet{},
		dests: map[destinationKey]*seriesSet{},
		membs: map[memberKey]*seriesSet{},
	}
}

func (c *seriesCache) series(f figure, of labelled) *remotewrite.Series {
	b := labels.NewScratchBuilder(10)
	b.Add(model.MetricNameLabel, f.name)
	var more []string
	if of != nil {
		more = of.labels()
	}
	for _, pairs := range [][]string{c.base, more} {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i+1] != "" { // an empty label is no label
				b.Add(pairs[i], pairs[i+1])
			}
		}
	}
	b.Sort()
	return remotewrite.NewLeanSeries(b.Labels(), metadata.Metadata{Type: f.kind, Help: f.help, Unit: f.unit})
}

// state is what is to be said about the poll itself.
type state struct {
	owner bool // this collector polls; if it does not, nothing else is said
	known bool // there is a lease, so that owner is a series
	up    bool // something was read
	part  bool // but not all
}

// add puts one poll into b. What had a value before and has none now gets a staleness marker,
// also when the broker is away: an old offset must not pass for a present one.
func (c *seriesCache) add(b *remotewrite.Batch, at time.Time, snap snapshot, is state) {
	c.round++
	t := at.UnixMilli()
	c.put(b, t, &c.owner, 0, figOwner, nil, bool01(is.owner), is.known)
	c.put(b, t, &c.whole, 0, figUp, nil, bool01(is.up), is.owner)
	c.put(b, t, &c.whole, 1, figPartial, nil, 1, is.owner && is.part)
	for i := range snap.partitions {
		c.addPartition(b, t, &snap.partitions[i])
	}
	c.addGroups(b, t, func(yield func(*groupState) bool) {
		for i := range snap.groups {
			if !yield(&snap.groups[i]) {
				return
			}
		}
	})
	if snap.many != nil {
		c.addGroups(b, t, snap.many)
	}
	for i := range snap.destinations {
		c.addDestination(b, t, &snap.destinations[i])
	}
	for i := range snap.members {
		c.addMembers(b, t, &snap.members[i])
	}
	sweep(c, c.parts, b, t)
	for k, parts := range c.group {
		if sweep(c, parts, b, t); len(parts) == 0 {
			delete(c.group, k)
		}
	}
	sweep(c, c.dests, b, t)
	sweep(c, c.membs, b, t)
}

func (c *seriesCache) addDestination(b *remotewrite.Batch, t int64, d *destinationState) {
	if d.id != "" {
		k := destinationKey{destination: d.destination, id: d.id}
		c.put(b, t, setOf(c, c.dests, k), figInfo, destinationFigures[figInfo], k, 1, true)
	}
	whole := destinationKey{destination: d.destination}
	counts := setOf(c, c.dests, whole)
	for i, v := range [...]float64{figPublished: d.published, figConsumed: d.consumed, figRepeated: d.redelivered} {
		if i != figInfo {
			c.put(b, t, counts, i, destinationFigures[i], whole, v, v >= 0)
		}
	}
	for _, x := range d.discarded {
		k := destinationKey{destination: d.destination, reason: x.reason, dead: x.deadLettered}
		c.put(b, t, setOf(c, c.dests, k), 0, figDiscarded, k, x.n, x.n >= 0)
	}
}

func (c *seriesCache) addMembers(b *remotewrite.Batch, t int64, m *memberState) {
	info := memberKey{group: m.group, kind: m.kind, state: m.state}
	c.put(b, t, setOf(c, c.membs, info), figGroupInfo, memberFigures[figGroupInfo], info, 1, true)
	whole := memberKey{group: m.group, whole: true}
	s := setOf(c, c.membs, whole)
	c.put(b, t, s, figMembers, memberFigures[figMembers], whole, float64(m.members), m.members >= 0)
	c.put(b, t, s, figEpoch, memberFigures[figEpoch], whole, float64(m.epoch), m.epoch >= 0)
}

func (c *seriesCache) addPartition(b *remotewrite.Batch, t int64, p *partitionState) {
	s := setOf(c, c.parts, partitionKey{p.destination, p.partition})
	for i := range partitionFigures {
		v, ok := p.value(i)
		c.put(b, t, s, i, partitionFigures[i], p, v, ok)
	}
}

// addGroups is quick when the partitions of a group on a destination follow one another.
func (c *seriesCache) addGroups(b *remotewrite.Batch, t int64, groups iter.Seq[*groupState]) {
	var last readerKey
	var parts map[string]*seriesSet
	for g := range groups {
		if k := (readerKey{g.destination, g.group, g.ephemeral}); parts == nil || k != last {
			if parts = c.group[k]; parts == nil {
				parts = map[string]*seriesSet{}
				c.group[k] = parts
			}
			last = k
		}
		s := setOf(c, parts, g.partition)
		for i := range groupFigures {
			v, ok := g.value(i)
			if ok || len(s.made) > 0 {
				c.put(b, t, s, i, groupFigures[i], g, v, ok)
			}
		}
	}
}

// setOf finds or makes the series of k and notes that this poll saw them.
func setOf[K comparable](c *seriesCache, m map[K]*seriesSet, k K) *seriesSet {
	s := m[k]
	if s == nil {
		s = &seriesSet{}
		m[k] = s
	}
	s.round = c.round
	return s
}

func (c *seriesCache) put(b *remotewrite.Batch, t int64, s *seriesSet, i int, f figure, of labelled, v float64, ok bool) {
	var m *madeSeries
	for j := range s.made {
		if int(s.made[j].figure) == i {
			m = &s.made[j]
		}
	}
	switch {
	case !ok && (m == nil || !m.live):
		return
	case !ok:
		m.live = false
		v = staleNaN()
	case m == nil:
		s.made = append(s.made, madeSeries{Series: c.series(f, of), figure: uint8(i), live: true})
		m = &s.made[len(s.made)-1]
	default:
		m.live = true
	}
	c.sample(b, m.Series, t, v)
}

func (c *seriesCache) sample(b *remotewrite.Batch, s *remotewrite.Series, t int64, v float64) {
	b.Add(s, t, 0, v)
	if c.full != nil && b.Len() >= maxBatch {
		c.full()
	}
}

// sweep marks and forgets what this round did not see.
func sweep[K comparable](c *seriesCache, m map[K]*seriesSet, b *remotewrite.Batch, t int64) {
	for k, s := range m {
		if s.round == c.round {
			continue
		}
		for _, x := range s.made {
			if x.live {
				c.sample(b, x.Series, t, staleNaN())
			}
		}
		delete(m, k)
	}
}

func bool01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func staleNaN() float64 { return math.Float64frombits(value.StaleNaN) }
