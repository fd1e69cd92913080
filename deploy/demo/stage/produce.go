package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/collector/client"
)

// Headers a record carries: when it came into being and what it is called.
const (
	headerTime = "weir-ts"
	headerID   = "weir-id"
)

type order struct {
	ID       string  `json:"id"`
	Customer int     `json:"customer"`
	Item     string  `json:"item"`
	Amount   float64 `json:"amount"`
	Country  string  `json:"country,omitempty"` // added by enrich
}

type sent struct {
	ack    jetstream.PubAckFuture
	record client.Record
	span   trace.Span
}

var items = [...]string{"anchor", "buoy", "cleat", "davit", "fender", "gaff"}

// produce writes Rate records a second into the stream orders.
func (b *base) produce(ctx context.Context) error {
	if _, err := b.ensure(ctx, Orders, ""); err != nil {
		return err
	}
	if _, err := b.ensure(ctx, Enriched, ""); err != nil {
		return err
	}
	made := b.set.NewCounter("demo_orders_produced_total")
	acks := make(chan sent, 4000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range acks {
			b.confirm(ctx, s)
		}
	}()
	defer func() { close(acks); <-done }()
	const tick = 10 * time.Millisecond
	t := time.NewTicker(tick)
	defer t.Stop()
	run := strconv.FormatInt(time.Now().Unix(), 36)
	begin, base, rate := time.Now(), 0, int64(0)
	n := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			want := int64(b.cfg.Rate)
			if r := b.fault.ratePerSec.Load(); r > 0 {
				want = r
			}
			if want != rate {
				begin, base, rate = now, n, want
			}
			target := base + int(float64(rate)*now.Sub(begin).Seconds())
			for ; n < target; n++ {
				s, err := b.publishOrder(ctx, fmt.Sprintf("%s-%d", run, n), n)
				if err != nil {
					b.logger.Warn("cannot publish, trying again", "error", err)
					break
				}
				made.Inc()
				acks <- s
			}
		}
	}
}

func (b *base) publishOrder(ctx context.Context, id string, n int) (sent, error) {
	now := time.Now()
	body, err := json.Marshal(order{ID: id, Customer: rand.IntN(10_000), Item: items[n%len(items)], Amount: float64(rand.IntN(100_000)) / 100})
	if err != nil {
		return sent{}, err
	}
	sctx, span := b.tracer.Start(ctx, "send "+Orders, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(now), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", Orders),
		attribute.String("messaging.operation.type", "send"), attribute.String("messaging.message.id", id)))
	m := nats.NewMsg(Orders + "." + strconv.Itoa(n%3))
	m.Data = body
	m.Header.Set(headerTime, strconv.FormatInt(now.UnixMilli(), 10))
	m.Header.Set(headerID, id)
	propagation.TraceContext{}.Inject(sctx, propagation.HeaderCarrier(m.Header))
	ack, err := b.js.PublishMsgAsync(m)
	if err != nil {
		span.End()
		return sent{}, err
	}
	return sent{ack: ack, span: span, record: client.Record{ID: id, Time: time.UnixMilli(now.UnixMilli()), Bytes: len(body)}}, nil
}

// confirm waits for the broker's word; only then the record counts as put out.
func (b *base) confirm(ctx context.Context, s sent) {
	defer s.span.End()
	for {
		select {
		case <-s.ack.Ok():
			b.audit.Out(Orders, s.record)
			b.audit.Count("orders.out", 1)
			return
		case err := <-s.ack.Err():
			// The broker may hold the record or not. It is asked again under the same message, and
			// counted once: what the broker holds twice is a duplicate that weir should see.
			b.logger.Warn("the broker did not confirm, trying again", "error", err)
			again, perr := b.js.PublishMsgAsync(s.ack.Msg())
			if perr != nil {
				select {
				case <-ctx.Done():
					return
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			s.ack = again
		case <-time.After(30 * time.Second):
			b.logger.Error("the broker never answered", "id", s.record.ID)
			return
		}
	}
}
