package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	// groupsParallel bounds the questions about groups in flight, but for those that wait for a broker that answers slowly.
	groupsParallel = 2
)

// kafkaGroup is a group as long as it is listed.
type kafkaGroup struct {
	name, kind, state string
	members           int   // negative = not told
	epoch             int64 // negative = not told
	listedBy          int32 // broker that lists it: its coordinator
	stray             bool  // unless that one says that it is not
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
	onlyMarkers int64 // from timeFor up to this offset stand only markers of transactions and what was aborted
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
			k.isAway(x.broker)
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
				k.group(g, x.broker)
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

func (k *kafkaSystem) group(l *kmsg.ListGroupsResponseGroup, broker int32) {
	kind := strings.ToLower(l.GroupType)
	if kind == "" || kind == "unknown" {
		kind = kafkaClassic // the broker is older than the other kinds
	}
	g := k.groups[l.Group]
	if g == nil || g.kind != kind {
		g = &kafkaGroup{name: l.Group, kind: kind, members: -1, epoch: -1, listedBy: -1, topics: map[string]*kafkaReads{}}
		k.groups[l.Group] = g
	}
	if g.listedBy != broker {
		g.listedBy, g.stray = broker, false
	}
	g.state, g.round = l.GroupState, k.cur.round
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

// coordinator is the broker to be asked about the group; negative: the client is to find it.
func (g *kafkaGroup) coordinator() int32 {
	if g.stray {
		return -1
	}
	return g.listedBy
}

// readCommits asks the coordinators how far all groups have come on all topics.
func (k *kafkaSystem) readCommits(ctx context.Context) {
	commits := func(broker int32, batch []*kafkaGroup) {
		for len(batch) > 0 && ctx.Err() == nil {
			batch = batch[k.askCommits(ctx, broker, batch):]
		}
		k.missed(batch)
	}
	share := func(broker int32, batch []*kafkaGroup) { k.askShare(ctx, broker, batch) }
	k.inBatches(ctx, k.ofKind(func(g *kafkaGroup) bool { return g.kind != kafkaShare }), commits)
	k.inBatches(ctx, k.ofKind(func(g *kafkaGroup) bool { return g.kind == kafkaShare && !k.shareUnknown }), share)
	k.takeTold()
	// Once more for those whose coordinator is another one than the broker that lists them.
	stray := func(g *kafkaGroup) bool { return g.stray && g.read != k.cur.round }
	k.inBatches(ctx, k.ofKind(func(g *kafkaGroup) bool { return stray(g) && g.kind != kafkaShare }), commits)
	k.inBatches(ctx, k.ofKind(func(g *kafkaGroup) bool { return stray(g) && g.kind == kafkaShare && !k.shareUnknown }), share)
	k.takeTold()
}

// toldGroup is what a coordinator answered about one group.
type toldGroup struct {
	name string
	take func()
}

// takeTold takes the answers of all coordinators in the order of names: beyond max_commits it must not be chance which groups are read.
func (k *kafkaSystem) takeTold() {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.SortStableFunc(k.cur.told, func(a, b toldGroup) int { return strings.Compare(a.name, b.name) })
	for _, t := range k.cur.told {
		t.take()
	}
	k.cur.told = nil
}

// askCommits asks for the commits of groups; an old broker tells only those of the first. It returns how many were asked about.
func (k *kafkaSystem) askCommits(ctx context.Context, broker int32, batch []*kafkaGroup) int {
	if k.oneByOne.Load() {
		batch = batch[:1]
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = batch[0].name // no topics = all it committed on
	for _, g := range batch {
		rg := kmsg.NewOffsetFetchRequestGroup()
		rg.Group = g.name
		req.Groups = append(req.Groups, rg)
	}
	asked := len(batch)
	shards := k.askCoordinator(ctx, broker, req)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range shards {
		r, _ := s.Req.(*kmsg.OffsetFetchRequest)
		resp, ok := s.Resp.(*kmsg.OffsetFetchResponse)
		switch {
		case s.Err == nil && ok:
			k.heed(resp)
			if resp.Version < batchedCommits && len(resp.Groups) == 0 {
				k.oneByOne.Store(true)
				asked = 1
				resp.Groups = []kmsg.OffsetFetchResponseGroup{oldCommits(r.Group, resp)}
			}
			for i := range resp.Groups {
				k.cur.told = append(k.cur.told, toldGroup{resp.Groups[i].Group, func() { k.takeCommits(&resp.Groups[i]) }})
			}
		case s.Err != nil && r != nil:
			if len(r.Groups) == 0 { // as the client asks an old broker
				k.cur.trouble.add("cannot read commits: "+s.Err.Error(), r.Group, -1)
			}
			for _, g := range r.Groups {
				k.cur.trouble.add("cannot read commits: "+s.Err.Error(), g.Group, -1)
			}
		}
	}
	return asked
}

// askShare asks for the offsets of share groups.
func (k *kafkaSystem) askShare(ctx context.Context, broker int32, batch []*kafkaGroup) {
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	for _, g := range batch {
		rg := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
		rg.GroupID = g.name
		req.Groups = append(req.Groups, rg)
	}
	shards := k.askCoordinator(ctx, broker, req)
	k.mu.Lock()
	defer k.mu.Unlock()
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
				k.cur.told = append(k.cur.told, toldGroup{resp.Groups[i].GroupID, func() { k.takeShare(&resp.Groups[i]) }})
			}
		}
	}
}

// batchedCommits is the version of OffsetFetch that asks for several groups.
const batchedCommits = 8

// oldCommits is the answer of an older broker in the form of the newer ones.
func oldCommits(group string, resp *kmsg.OffsetFetchResponse) kmsg.OffsetFetchResponseGroup {
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group, g.ErrorCode = group, resp.ErrorCode
	for i := range resp.Topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = resp.Topics[i].Topic
		for _, p := range resp.Topics[i].Partitions {
			gp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			gp.Partition, gp.Offset, gp.ErrorCode = p.Partition, p.Offset, p.ErrorCode
			t.Partitions = append(t.Partitions, gp)
		}
		g.Topics = append(g.Topics, t)
	}
	return g
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
	case code == kerr.NotCoordinator.Code && !g.stray:
		g.stray = true // it has moved, or every broker lists it
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
