package clicks

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
)

// track writes Rate records a second, evenly over the partitions, or most of them into partition 0.
func (p *process) track(ctx context.Context) error {
	made := p.set.NewCounter("demo_clicks_tracked_total")
	run := strconv.FormatInt(time.Now().Unix(), 36)
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return p.kafka.Flush(context.WithoutCancel(ctx))
		case now := <-t.C:
			for target := int(float64(p.cfg.Rate) * now.Sub(began).Seconds()); n < target; n++ {
				part := n % Partitions
				if p.hot.Load() {
					if part = 0; n%10 >= 8 {
						part = n%10 - 7
					}
				}
				r := client.Record{ID: fmt.Sprintf("c%s-%d", run, n), Time: time.UnixMilli(time.Now().UnixMilli()), Bytes: 7}
				p.kafka.Produce(ctx, &kgo.Record{
					Topic: Topic, Partition: int32(part), Value: []byte("a click"), Timestamp: r.Time,
					Headers: []kgo.RecordHeader{
						{Key: headerTime, Value: strconv.AppendInt(nil, r.Time.UnixMilli(), 10)},
						{Key: headerID, Value: []byte(r.ID)},
					},
				}, func(_ *kgo.Record, err error) {
					if err != nil { // it is not in the topic, and not counted
						p.logger.Warn("the broker did not take a record", "error", err)
						return
					}
					p.audit.Out(Topic, r)
					made.Inc()
				})
			}
		}
	}
}
