package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Special times of a ListOffsets request.
const (
	kafkaLatest   = -1
	kafkaEarliest = -2
	kafkaYoungest = -3 // the record with the largest time
)

// metadataTries is how many brokers are asked for the list of topics before the cluster counts as away.
const metadataTries = 5

// readTopics lists topics with their partitions and leaders.
func (k *kafkaSystem) readTopics(ctx context.Context) error {
	resp, err := k.metadata(ctx)
	if err != nil {
		return err
	}
	meta, ok := resp.(*kmsg.MetadataResponse)
	if !ok {
		return errors.New("the answer is of another kind")
	}
	k.heed(resp)
	slices.SortFunc(meta.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(topicName(a), topicName(b)) })
	k.brokers = k.brokers[:0]
	for i := range meta.Brokers {
		k.brokers = append(k.brokers, meta.Brokers[i].NodeID)
	}
	k.order = k.order[:0]
	clear(k.byID)
	parts := 0
	for i := range meta.Topics {
		t := &meta.Topics[i]
		name := topicName(*t)
		switch {
		case name == "" || !k.cfg.wantsTopic(name, t.IsInternal):
			continue
		case t.ErrorCode == codeDenied:
			k.denied("topic", name, 1)
			continue
		case t.ErrorCode == codeNoTopic || t.ErrorCode == codeNoTopicID:
			k.skipped["gone"].Inc()
			continue
		case t.ErrorCode != 0:
			k.cur.trouble.add("cannot list partitions: "+kafkaError(t.ErrorCode).Error(), name, -1)
			continue
		case parts+len(t.Partitions) > k.cfg.MaxPartitions:
			k.skipped["max_partitions"].Add(len(t.Partitions))
			continue
		}
		parts += len(t.Partitions)
		k.order = append(k.order, k.topic(name, t))
	}
	for name, t := range k.topics {
		if t.round != k.cur.round {
			delete(k.topics, name)
		}
	}
	return nil
}

func topicName(t kmsg.MetadataResponseTopic) string {
	if t.Topic == nil {
		return ""
	}
	return *t.Topic
}

// topic brings what is known about a topic up to date. Another id is another topic: nothing known about the old one holds.
func (k *kafkaSystem) topic(name string, m *kmsg.MetadataResponseTopic) *kafkaTopic {
	t := k.topics[name]
	if t == nil || t.id != m.TopicID {
		t = &kafkaTopic{name: name, id: m.TopicID, idText: topicID(m.TopicID)}
		k.topics[name] = t
	}
	t.round = k.cur.round
	k.byID[t.id] = t
	n := 0
	for i := range m.Partitions { // an absurd number must not take the memory
		if p := m.Partitions[i].Partition; p >= 0 && int(p) < k.cfg.MaxPartitions {
			n = max(n, int(p)+1)
		}
	}
	for len(t.parts) < n {
		t.parts = append(t.parts, kafkaPart{leader: -1, start: -1, end: -1, stable: -1, lastEnd: -1, oldestFor: -1, newestFor: -1, bytes: -1})
	}
	t.parts = t.parts[:n]
	for i := range t.parts {
		t.parts[i].leader = -1
	}
	for i := range m.Partitions {
		if p := m.Partitions[i].Partition; p >= 0 && int(p) < n {
			t.parts[p].leader = m.Partitions[i].Leader
		}
	}
	return t
}

// offsetsAsk is one kind of question about all partitions, or those that want it.
type offsetsAsk struct {
	time      int64
	committed bool // what readers of committed transactions see
	limit     int  // partitions asked at most; 0 = all
	want      func(q *kafkaPart) bool
	take      func(q *kafkaPart, offset, time int64)
	quiet     bool // an error says nothing about the partition: it is only a figure less
}

// listOffsets asks every leader once. Partitions that have moved are asked again where they are now.
func (k *kafkaSystem) listOffsets(ctx context.Context, a offsetsAsk) {
	moved := k.askLeaders(ctx, a, nil)
	if len(moved) == 0 || a.quiet || ctx.Err() != nil {
		return
	}
	if err := k.readTopics(ctx); err != nil {
		return // the error codes of the partitions tell
	}
	k.askLeaders(ctx, a, moved)
}

type partID struct {
	topic *kafkaTopic
	part  int
}

// askLeaders returns the partitions whose leader answered that it is none.
func (k *kafkaSystem) askLeaders(ctx context.Context, a offsetsAsk, only map[partID]bool) map[partID]bool {
	reqs := map[int32]*kmsg.ListOffsetsRequest{}
	n := 0
	for _, t := range k.order {
		for i := range t.parts {
			q := &t.parts[i]
			switch {
			case q.leader < 0 || k.cur.down[q.leader] != nil, only != nil && !only[partID{t, i}], a.want != nil && !a.want(q):
				continue
			case a.limit > 0 && n >= a.limit:
				continue
			}
			n++
			if only != nil {
				q.code = 0 // asked again
			}
			addOffsetsRequest(reqs, t.name, int32(i), q.leader, a)
		}
	}
	moved := map[partID]bool{}
	for _, x := range askAll(ctx, k, reqs) {
		if x.err != nil {
			k.cur.down[x.broker] = x.err
			if !a.quiet { // those are given little time
				k.isAway(x.broker)
			}
			continue
		}
		k.heed(x.resp)
		if resp, ok := x.resp.(*kmsg.ListOffsetsResponse); ok {
			k.takeOffsets(resp, a, moved)
		}
	}
	return moved
}

// brokerAnswer is what one broker said.
type brokerAnswer struct {
	broker int32
	resp   kmsg.Response
	err    error
}

// askAll asks several brokers at once.
func askAll[R kmsg.Request](ctx context.Context, k *kafkaSystem, reqs map[int32]R) []brokerAnswer {
	answers := make([]brokerAnswer, 0, len(reqs))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for broker, req := range reqs {
		wg.Go(func() {
			resp, err := k.ask(ctx, broker, req)
			mu.Lock()
			answers = append(answers, brokerAnswer{broker, resp, err})
			mu.Unlock()
		})
	}
	wg.Wait()
	return answers
}

func addOffsetsRequest(reqs map[int32]*kmsg.ListOffsetsRequest, topic string, part, leader int32, a offsetsAsk) {
	r := reqs[leader]
	if r == nil {
		r = kmsg.NewPtrListOffsetsRequest()
		r.ReplicaID = -1
		if a.committed {
			r.IsolationLevel = 1
		}
		reqs[leader] = r
	}
	if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != topic {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = topic
		r.Topics = append(r.Topics, rt)
	}
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.MaxNumOffsets = part, a.time, 1
	rt := &r.Topics[len(r.Topics)-1]
	rt.Partitions = append(rt.Partitions, rp)
}

func (k *kafkaSystem) takeOffsets(resp *kmsg.ListOffsetsResponse, a offsetsAsk, moved map[partID]bool) {
	if a.time == kafkaYoungest && resp.Version < 7 {
		k.noNewest = true
		return
	}
	for i := range resp.Topics {
		t := k.topics[resp.Topics[i].Topic]
		if t == nil {
			continue // not asked for
		}
		denied := 0
		for j := range resp.Topics[i].Partitions {
			x := &resp.Topics[i].Partitions[j]
			if x.Partition < 0 || int(x.Partition) >= len(t.parts) {
				continue
			}
			q := &t.parts[x.Partition]
			offset := x.Offset
			if resp.Version == 0 && len(x.OldStyleOffsets) > 0 {
				offset = x.OldStyleOffsets[0]
			}
			switch {
			case a.quiet && x.ErrorCode == codeTooOld && a.time == kafkaYoungest:
				k.noNewest = true
			case a.quiet && x.ErrorCode != 0:
			case x.ErrorCode == codeDenied:
				q.code = x.ErrorCode
				denied++
			case x.ErrorCode == kerr.NotLeaderForPartition.Code, x.ErrorCode == kerr.LeaderNotAvailable.Code, x.ErrorCode == kerr.ReplicaNotAvailable.Code,
				x.ErrorCode == codeNoTopic, x.ErrorCode == kerr.FencedLeaderEpoch.Code, x.ErrorCode == kerr.BrokerNotAvailable.Code:
				q.code = x.ErrorCode
				moved[partID{t, int(x.Partition)}] = true
			case x.ErrorCode != 0:
				q.code = x.ErrorCode
			default:
				a.take(q, offset, x.Timestamp)
			}
		}
		if denied > 0 {
			k.denied("topic", t.name, denied)
		}
	}
}

// settingsBatch is how many topics' settings one request asks for.
const settingsBatch = 500

// readSettings asks for retention and clean-up of topics that are new or were not asked about for a while.
func (k *kafkaSystem) readSettings(ctx context.Context) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	asked := map[string]*kafkaTopic{}
	for _, t := range k.order {
		if len(asked) >= settingsBatch {
			break // the rest in the next poll
		}
		if !t.settings.IsZero() && k.cur.now.Sub(t.settings) < kafkaSettingsAge {
			continue
		}
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
		r.ConfigNames = []string{"retention.ms", "retention.bytes", "cleanup.policy"}
		req.Resources = append(req.Resources, r)
		asked[t.name] = t
	}
	if len(asked) == 0 || ctx.Err() != nil {
		return
	}
	resp, err := k.askAny(ctx, req)
	if err != nil {
		k.cur.trouble.add("cannot read settings of topics: "+err.Error(), "", -1)
		return
	}
	k.heed(resp)
	configs, ok := resp.(*kmsg.DescribeConfigsResponse)
	if !ok {
		return
	}
	for i := range configs.Resources {
		r := &configs.Resources[i]
		t := asked[r.ResourceName]
		switch {
		case t == nil || r.ErrorCode == codeNoTopic:
		case r.ErrorCode == codeDenied:
			t.settings = k.cur.now // asked again after a while
			k.denied("settings of topic", t.name, 1)
		case r.ErrorCode != 0:
			k.cur.trouble.add("cannot read settings: "+kafkaError(r.ErrorCode).Error(), t.name, -1)
		default:
			t.settings = k.cur.now
			t.set(r.Configs)
		}
	}
}

func (t *kafkaTopic) set(configs []kmsg.DescribeConfigsResponseResourceConfig) {
	values := map[string]string{}
	for _, c := range configs {
		if c.Value != nil {
			values[c.Name] = *c.Value
		}
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(values[name], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	policies := strings.Split(strings.ReplaceAll(values["cleanup.policy"], " ", ""), ",")
	t.compacted = slices.Contains(policies, "compact")
	t.maxAge, t.maxBytes = 0, 0
	if t.compacted && !slices.Contains(policies, "delete") {
		return // nothing is deleted for its age
	}
	if ms := number("retention.ms"); ms > 0 && ms < int64(100*365*24*time.Hour/time.Millisecond) {
		t.maxAge = time.Duration(ms) * time.Millisecond
	}
	t.maxBytes = max(number("retention.bytes"), 0)
}
