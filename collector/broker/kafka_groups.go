package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of groups, as Kafka writes them.
const (
	kafkaClassic  = "classic"
	kafkaConsumer = "consumer" // KIP-848
	kafkaShare    = "share"    // KIP-932
)

const (
	// One question asks for the commits of so many groups at most, and not for more commits than this, going by the poll before:
	// the answers of ten thousand groups at once would not fit into the memory of a node agent.
	batchGroups  = 100
	batchCommits = 30_000
	// groupsParallel bounds the questions about groups in flight.
	groupsParallel = 2
)

// kafkaGroup is a group as long as it is listed.
type kafkaGroup struct {
	name, kind, state string
	members           int   // negative = not told
	epoch             int64 // negative = not told
	round             uint64
	read              uint64 // round in which its commits were read
	commits           int    // in the poll before
	topics            map[string]*kafkaReads

	described      time.Time // when its members were read
	describedState string
	assigned       map[string][]int32 // partitions by topic
	assignedHash   uint64             // of what assigned was read from
}

// kafkaReads is a group on a topic.
type kafkaReads struct {
	topic *kafkaTopic
	slots []kafkaSlot // by partition
}

// kafkaSlot is what a group committed on a partition.
type kafkaSlot struct {
	round       uint64 // poll in which committed was read
	committed   int64
	pending     int64 // as the broker says; negative = it does not
	timeFor     int64 // offset whose record time is known
	time        int64 // Unix ms; 0 = no record there, -1 = one without a time that can be
	onlyMarkers int64 // from timeFor up to this offset stand only markers of transactions
}

// listGroups asks every broker for the groups it coordinates.
func (k *kafkaSystem) listGroups(ctx context.Context) {
	k.listed = k.listed[:0]
	reqs := map[int32]*kmsg.ListGroupsRequest{}
	for _, id := range k.brokers {
		if k.cur.down[id] == nil {
			reqs[id] = kmsg.NewPtrListGroupsRequest()
		} else {
			k.cur.trouble.add(fmt.Sprintf("cannot list groups of broker %d: it does not answer", id), "", -1)
		}
	}
	for _, x := range askAll(ctx, k, reqs) {
		broker := strconv.Itoa(int(x.broker))
		if x.err != nil {
			k.cur.trouble.add("cannot list groups of broker "+broker+": "+x.err.Error(), "", -1)
			continue
		}
		resp, ok := x.resp.(*kmsg.ListGroupsResponse)
		if !ok {
			continue
		}
		k.heed(resp)
		switch resp.ErrorCode {
		case 0:
		case kerr.ClusterAuthorizationFailed.Code:
			k.denied("groups of broker", broker, 1)
		default:
			k.cur.trouble.add("cannot list groups of broker "+broker+": "+kafkaError(resp.ErrorCode).Error(), "", -1)
		}
		for i := range resp.Groups {
			if g := &resp.Groups[i]; g.Group != "" && k.cfg.wantsGroup(g.Group) {
				k.group(g)
			}
		}
	}
	for name, g := range k.groups {
		if g.round != k.cur.round {
			delete(k.groups, name)
			continue
		}
		k.listed = append(k.listed, g)
	}
	slices.SortFunc(k.listed, func(a, b *kafkaGroup) int { return strings.Compare(a.name, b.name) })
	if n := k.cfg.MaxGroups; len(k.listed) > n {
		k.skipped["max_groups"].Add(len(k.listed) - n)
		for _, g := range k.listed[n:] {
			delete(k.groups, g.name)
		}
		k.listed = k.listed[:n]
	}
}

func (k *kafkaSystem) group(l *kmsg.ListGroupsResponseGroup) {
	kind := strings.ToLower(l.GroupType)
	if kind == "" || kind == "unknown" {
		kind = kafkaClassic // the broker is older than the other kinds
	}
	g := k.groups[l.Group]
	if g == nil || g.kind != kind {
		g = &kafkaGroup{name: l.Group, kind: kind, members: -1, epoch: -1, topics: map[string]*kafkaReads{}}
		k.groups[l.Group] = g
	}
	g.state, g.round = l.GroupState, k.cur.round
}

// inBatches cuts groups of the kinds into questions and asks a few at a time.
func (k *kafkaSystem) inBatches(groups []*kafkaGroup, f func([]*kafkaGroup)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, groupsParallel)
	for len(groups) > 0 {
		n, commits := 0, 0
		for n < len(groups) && n < batchGroups && (n == 0 || commits+groups[n].commits <= batchCommits) {
			commits += groups[n].commits
			n++
		}
		batch := groups[:n]
		groups = groups[n:]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(batch)
		})
	}
	wg.Wait()
}

func (k *kafkaSystem) ofKind(is func(g *kafkaGroup) bool) []*kafkaGroup {
	var list []*kafkaGroup
	for _, g := range k.listed {
		if is(g) {
			list = append(list, g)
		}
	}
	return list
}

// readCommits asks the coordinators how far all groups have come on all topics.
func (k *kafkaSystem) readCommits(ctx context.Context) {
	var mu sync.Mutex // of everything but the network
	k.inBatches(k.ofKind(func(g *kafkaGroup) bool { return g.kind != kafkaShare }), func(batch []*kafkaGroup) {
		req := kmsg.NewPtrOffsetFetchRequest()
		for _, g := range batch {
			rg := kmsg.NewOffsetFetchRequestGroup()
			rg.Group = g.name // no topics = all it committed on
			req.Groups = append(req.Groups, rg)
		}
		// Once more for those whose coordinator was not found by a broker that is away.
		for last := false; len(req.Groups) > 0; last = true {
			shards := k.cl.RequestSharded(ctx, req)
			req = kmsg.NewPtrOffsetFetchRequest()
			mu.Lock()
			for _, s := range shards {
				r, _ := s.Req.(*kmsg.OffsetFetchRequest)
				resp, ok := s.Resp.(*kmsg.OffsetFetchResponse)
				switch {
				case s.Err == nil && ok:
					k.heed(resp)
					for i := range resp.Groups {
						k.takeCommits(&resp.Groups[i])
					}
				case s.Err != nil && r != nil && !last && ctx.Err() == nil:
					req.Groups = append(req.Groups, r.Groups...)
				case s.Err != nil && r != nil:
					if len(r.Groups) == 0 { // an old broker is asked for one at a time
						k.cur.trouble.add("cannot read commits: "+s.Err.Error(), r.Group, -1)
					}
					for _, g := range r.Groups {
						k.cur.trouble.add("cannot read commits: "+s.Err.Error(), g.Group, -1)
					}
				}
			}
			mu.Unlock()
		}
	})
	k.inBatches(k.ofKind(func(g *kafkaGroup) bool { return g.kind == kafkaShare && !k.shareUnknown }), func(batch []*kafkaGroup) {
		req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		for _, g := range batch {
			rg := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
			rg.GroupID = g.name
			req.Groups = append(req.Groups, rg)
		}
		shards := k.cl.RequestSharded(ctx, req)
		mu.Lock()
		defer mu.Unlock()
		for _, s := range shards {
			if s.Err != nil {
				if r, ok := s.Req.(*kmsg.DescribeShareGroupOffsetsRequest); ok {
					for _, g := range r.Groups {
						k.cur.trouble.add("cannot read offsets of share group: "+s.Err.Error(), g.GroupID, -1)
					}
				}
				continue
			}
			if resp, ok := s.Resp.(*kmsg.DescribeShareGroupOffsetsResponse); ok {
				k.heed(resp)
				for i := range resp.Groups {
					k.takeShare(&resp.Groups[i])
				}
			}
		}
	})
}

// readable says whether a group's answer can be used, and notes why not.
func (k *kafkaSystem) readable(name string, code int16, what string) *kafkaGroup {
	g := k.groups[name]
	switch {
	case g == nil: // not asked for
	case code == 0:
		return g
	case code == codeGroupDenied || code == codeDenied:
		k.denied("group", name, 1)
	case code == codeNoGroup:
		k.skipped["gone"].Inc() // since it was listed
	default:
		k.cur.trouble.add(what+": "+kafkaError(code).Error(), name, -1)
	}
	return nil
}

func (k *kafkaSystem) takeCommits(a *kmsg.OffsetFetchResponseGroup) {
	g := k.readable(a.Group, a.ErrorCode, "cannot read commits")
	if g == nil {
		return
	}
	g.read, g.commits = k.cur.round, 0
	for i := range a.Topics {
		t := k.topics[k.nameOf(a.Topics[i].Topic, a.Topics[i].TopicID)]
		g.commits += len(a.Topics[i].Partitions)
		if t == nil {
			continue // left out, or gone
		}
		for j := range a.Topics[i].Partitions {
			x := &a.Topics[i].Partitions[j]
			switch {
			case x.ErrorCode == codeDenied:
				k.denied("topic", t.name, 1)
			case x.ErrorCode == codeNoTopic, x.ErrorCode == codeNoTopicID:
				k.skipped["gone"].Inc()
			case x.ErrorCode != 0:
				k.cur.trouble.add("cannot read commits: "+kafkaError(x.ErrorCode).Error(), g.name, -1)
			default:
				k.take(g, t, x.Partition, x.Offset, -1)
			}
		}
	}
}

func (k *kafkaSystem) takeShare(a *kmsg.DescribeShareGroupOffsetsResponseGroup) {
	if a.ErrorCode == codeTooOld {
		k.shareUnknown = true
		k.log.Info("the broker does not tell the offsets of share groups")
		return
	}
	g := k.readable(a.GroupID, a.ErrorCode, "cannot read offsets of share group")
	if g == nil {
		return
	}
	g.read, g.commits = k.cur.round, 0
	for i := range a.Topics {
		t := k.topics[k.nameOf(a.Topics[i].Topic, a.Topics[i].TopicID)]
		g.commits += len(a.Topics[i].Partitions)
		if t == nil {
			continue
		}
		for j := range a.Topics[i].Partitions {
			x := &a.Topics[i].Partitions[j]
			switch x.ErrorCode {
			case 0:
				k.take(g, t, x.Partition, x.StartOffset, x.Lag)
			case codeDenied:
				k.denied("topic", t.name, 1)
			default:
				k.cur.trouble.add("cannot read offsets of share group: "+kafkaError(x.ErrorCode).Error(), g.name, -1)
			}
		}
	}
}

// take notes one commit. -1 is what brokers say for "none".
func (k *kafkaSystem) take(g *kafkaGroup, t *kafkaTopic, part int32, offset, pending int64) {
	switch {
	case offset == -1:
		return
	case offset < 0 || offset > kafkaMaxOffset || part < 0:
		k.skipped["absurd"].Inc()
		return
	case int(part) >= len(t.parts):
		k.skipped["gone"].Inc() // of an earlier life of the topic
		return
	}
	if k.cur.commits++; k.cur.commits > k.cfg.MaxCommits {
		k.skipped["max_commits"].Inc()
		return
	}
	r := g.topics[t.name]
	if r == nil || r.topic != t {
		r = &kafkaReads{topic: t}
		g.topics[t.name] = r
	}
	for len(r.slots) < len(t.parts) {
		r.slots = append(slices.Grow(r.slots, len(t.parts)-len(r.slots)), kafkaSlot{timeFor: -1})
	}
	c := &r.slots[part]
	c.round, c.committed, c.pending = k.cur.round, offset, pending
}
