package broker

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaSizesAge is how old the bytes kept of partitions may be.
const kafkaSizesAge = 30 * time.Second

// readSizes asks every broker, now and then, how many bytes it keeps of the partitions that it leads. Followers' copies may
// be shorter or longer, so they do not count.
func (k *kafkaSystem) readSizes(ctx context.Context) {
	if k.noSizes || k.cur.now.Sub(k.sized) < kafkaSizesAge || ctx.Err() != nil {
		return
	}
	reqs := map[int32]*kmsg.DescribeLogDirsRequest{}
	for _, b := range k.brokers {
		if _, away := k.away[b]; !away && k.cur.down[b] == nil {
			reqs[b] = kmsg.NewPtrDescribeLogDirsRequest() // no topics = all
		}
	}
	k.sized = k.cur.now
	for _, t := range k.order {
		for i := range t.parts {
			t.parts[i].bytes = -1
		}
	}
	for _, x := range askAll(ctx, k, reqs) {
		resp, ok := x.resp.(*kmsg.DescribeLogDirsResponse)
		switch {
		case errors.Is(x.err, kerr.UnsupportedVersion):
			k.noSizes = true
		case x.err != nil:
			k.cur.trouble.add("cannot read sizes of logs: "+x.err.Error(), "", -1)
		case !ok:
		case resp.ErrorCode == codeDenied || resp.ErrorCode == kerr.ClusterAuthorizationFailed.Code:
			k.denied("sizes of logs", "cluster", 1)
		case resp.ErrorCode != 0:
			k.cur.trouble.add("cannot read sizes of logs: "+kafkaError(resp.ErrorCode).Error(), "", -1)
		default:
			k.heed(resp)
			k.takeSizes(x.broker, resp)
		}
	}
}

func (k *kafkaSystem) takeSizes(broker int32, resp *kmsg.DescribeLogDirsResponse) {
	for i := range resp.Dirs {
		for j := range resp.Dirs[i].Topics {
			t := k.topics[resp.Dirs[i].Topics[j].Topic]
			if t == nil {
				continue
			}
			for _, p := range resp.Dirs[i].Topics[j].Partitions {
				if p.Partition < 0 || int(p.Partition) >= len(t.parts) || p.IsFuture || p.Size < 0 {
					continue // a future log is a copy on its way to another disk
				}
				if q := &t.parts[p.Partition]; q.leader == broker {
					q.bytes = p.Size
				}
			}
		}
	}
}
