package stage

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/collector/client"
)

// copied is one copy on its way to the broker.
type copied struct {
	to  string
	rec client.Record
	ack jetstream.PubAckFuture
}

// split copies each enriched order to every branch.
func (b *base) split(ctx context.Context) error {
	copies := b.set.NewCounter("demo_orders_copied_total")
	for _, to := range branches {
		if _, err := b.ensure(ctx, to, ""); err != nil {
			return err
		}
	}
	return b.consume(ctx, Enriched, "split", func(ctx context.Context, msgs []jetstream.Msg) error {
		var out []copied
		for _, m := range msgs {
			rec := read(m)
			b.audit.In(Enriched, "split", rec)
			lost := due(&b.fault.seen, b.fault.dropEvery.Load())
			for _, to := range branches {
				if lost && to == mail {
					// The silent bug: one branch lacks the record, nothing counted but in the injector's ledger.
					if err := b.note("dropped", rec); err != nil {
						return err
					}
					continue
				}
				n := nats.NewMsg(to + ".order")
				n.Data = m.Data()
				n.Header.Set(headerTime, strconv.FormatInt(rec.Time.UnixMilli(), 10))
				n.Header.Set(headerID, rec.ID)
				ack, err := b.js.PublishMsgAsync(n)
				if err != nil {
					return fmt.Errorf("cannot publish: %w", err)
				}
				out = append(out, copied{to, rec, ack})
			}
		}
		for _, c := range out {
			select {
			case <-c.ack.Ok():
				b.audit.Out(c.to, c.rec)
				copies.Inc()
			case err := <-c.ack.Err():
				// Not acknowledged either: the broker delivers the batch again.
				b.logger.Warn("the broker did not confirm", "error", err)
				return nil
			case <-time.After(ackWait):
				b.logger.Warn("the broker never answered", "id", c.rec.ID)
				return nil
			}
		}
		b.flushCounts(ctx)
		b.ack(msgs)
		return nil
	})
}
