package broker

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describe asks for the members of groups that are new or whose state has changed, and of the others from time to time.
func (k *kafkaSystem) describe(ctx context.Context) {
	due := func(kind string) []*kafkaGroup {
		return k.ofKind(func(g *kafkaGroup) bool {
			return g.kind == kind && (g.described.IsZero() || g.state != g.describedState || k.cur.now.Sub(g.described) >= kafkaMembersAge)
		})
	}
	ask := func(kind string, request func(names []string) kmsg.Request, take func(kmsg.Response)) {
		k.inBatches(ctx, due(kind), func(broker int32, batch []*kafkaGroup) {
			names := make([]string, len(batch))
			for i, g := range batch {
				names[i] = g.name
			}
			shards := k.askCoordinator(ctx, broker, request(names))
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, s := range shards {
				if s.Err != nil {
					k.cur.trouble.add("cannot read members of groups: "+s.Err.Error(), "", -1)
					continue
				}
				k.heed(s.Resp)
				take(s.Resp)
			}
		})
	}
	ask(kafkaClassic, func(names []string) kmsg.Request {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = names
		return r
	}, k.takeClassic)
	ask(kafkaConsumer, func(names []string) kmsg.Request {
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.Groups = names
		return r
	}, k.takeConsumer)
	ask(kafkaShare, func(names []string) kmsg.Request {
		r := kmsg.NewPtrShareGroupDescribeRequest()
		r.GroupIDs = names
		return r
	}, k.takeShareMembers)
	for _, g := range k.listed {
		for topic, r := range g.topics {
			if k.topics[topic] != r.topic { // gone, or created again
				delete(g.topics, topic)
			}
		}
	}
}

// members notes who is in a group; state comes from the list, unless the broker is too old to tell it there.
func (k *kafkaSystem) members(name string, code int16, state string, n int, epoch int64, hash uint64, assigned func(add func(topic string, parts ...int32))) {
	g := k.readable(name, code, "cannot read members of group")
	if g == nil {
		return
	}
	if g.state == "" || g.state != state && state != "" {
		g.state = state
	}
	// Spread over polls, so that not all groups are asked in the same one.
	g.describedState, g.described = g.state, k.cur.now.Add(-time.Duration(len(g.name)%3)*kafkaMembersAge/4)
	g.members, g.epoch = n, epoch
	if hash != 0 && hash == g.assignedHash {
		return
	}
	g.assignedHash, g.assigned = hash, map[string][]int32{}
	assigned(func(topic string, parts ...int32) { g.assigned[topic] = append(g.assigned[topic], parts...) })
}

func (k *kafkaSystem) takeClassic(r kmsg.Response) {
	resp, ok := r.(*kmsg.DescribeGroupsResponse)
	if !ok {
		return
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		var h maphash.Hash
		h.SetSeed(k.seed)
		for j := range g.Members {
			_, _ = h.Write(g.Members[j].MemberAssignment)
		}
		k.members(g.Group, g.ErrorCode, g.State, len(g.Members), -1, h.Sum64()|1, func(add func(string, ...int32)) {
			if g.ProtocolType != "consumer" {
				return // of Connect and others, which assign something else
			}
			for j := range g.Members {
				var a kmsg.ConsumerMemberAssignment
				if err := a.ReadFrom(g.Members[j].MemberAssignment); err != nil {
					continue // rebalancing, or a client that has its own form
				}
				for _, t := range a.Topics {
					add(t.Topic, t.Partitions...)
				}
			}
		})
	}
}

func (k *kafkaSystem) takeConsumer(r kmsg.Response) {
	resp, ok := r.(*kmsg.ConsumerGroupDescribeResponse)
	if !ok {
		return
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		k.members(g.Group, g.ErrorCode, g.State, len(g.Members), int64(g.Epoch), 0, func(add func(string, ...int32)) {
			for j := range g.Members {
				for _, t := range g.Members[j].Assignment.TopicPartitions {
					add(k.nameOf(t.Topic, t.TopicID), t.Partitions...)
				}
			}
		})
	}
}

// nameOf is the name of a topic that may be told by its id alone.
func (k *kafkaSystem) nameOf(name string, id [16]byte) string {
	if t := k.byID[id]; name == "" && t != nil {
		return t.name
	}
	return name
}

func (k *kafkaSystem) takeShareMembers(r kmsg.Response) {
	resp, ok := r.(*kmsg.ShareGroupDescribeResponse)
	if !ok {
		return
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		k.members(g.GroupID, g.ErrorCode, g.GroupState, len(g.Members), int64(g.GroupEpoch), 0, func(add func(string, ...int32)) {
			for j := range g.Members { // a partition may be several members'
				for _, t := range g.Members[j].Assignment.TopicPartitions {
					name := k.nameOf(t.Topic, t.TopicID)
					for _, p := range t.Partitions {
						if s := k.groups[g.GroupID]; !slices.Contains(s.assigned[name], p) {
							add(name, p)
						}
					}
				}
			}
		})
	}
}
