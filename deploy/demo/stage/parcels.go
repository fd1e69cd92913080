package stage

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/collector/client"
)

// Parcels is the stream of the third pipeline. Its applications, packer and courier, count nothing: they only trace one of ten.
const Parcels = "parcels"

// oneOfTen keeps a trace when the lowest digit of its number is the right one, and says so in the trace state, as
// OpenTelemetry's consistent sampling does: a reader of the spans knows how many each stands for.
type oneOfTen struct{}

func (oneOfTen) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	// The decision is by the last 56 bits of the trace's id, which are random: at least nine tenths of their range.
	var r uint64
	for _, b := range p.TraceID[9:] {
		r = r<<8 | uint64(b)
	}
	if r < 0xe6666666666666 {
		return sdktrace.SamplingResult{Decision: sdktrace.Drop}
	}
	state, err := trace.ParseTraceState("ot=th:e6666666666666")
	if err != nil {
		return sdktrace.SamplingResult{Decision: sdktrace.Drop}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample, Tracestate: state}
}

func (oneOfTen) Description() string { return "one of ten, by the trace's id" }

// pack writes Rate parcels a second. The silent bug: a parcel is traced as sent and never handed to the broker.
func (b *base) pack(ctx context.Context) error {
	if _, err := b.ensure(ctx, Parcels, ""); err != nil {
		return err
	}
	packed := b.set.NewCounter("demo_parcels_packed_total")
	run := strconv.FormatInt(time.Now().Unix(), 36)
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			for target := int(float64(b.cfg.Rate) * now.Sub(began).Seconds()); n < target; n++ {
				if err := b.send(ctx, fmt.Sprintf("p%s-%d", run, n)); err != nil {
					b.logger.Warn("cannot publish", "error", err)
					break
				}
				packed.Inc()
			}
		}
	}
}

func (b *base) send(ctx context.Context, id string) error {
	now := time.Now()
	sctx, span := b.tracer.Start(ctx, "send "+Parcels, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(now), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", Parcels),
		attribute.String("messaging.operation.type", "send"), attribute.String("messaging.message.id", id)))
	defer span.End()
	if due(&b.fault.seen, b.fault.dropEvery.Load()) {
		rec := client.Record{ID: id, Time: now}
		if span.SpanContext().IsSampled() {
			if err := b.note("dropped in a sampled trace", rec); err != nil {
				return err
			}
		}
		return b.note("dropped", rec)
	}
	m := nats.NewMsg(Parcels + ".new")
	m.Data = []byte("a parcel")
	m.Header.Set(headerTime, strconv.FormatInt(now.UnixMilli(), 10))
	m.Header.Set(headerID, id)
	propagation.TraceContext{}.Inject(sctx, propagation.HeaderCarrier(m.Header))
	_, err := b.js.PublishMsgAsync(m)
	return err
}

// courier takes parcels.
func (b *base) courier(ctx context.Context) error {
	return b.consume(ctx, Parcels, "courier", func(ctx context.Context, msgs []jetstream.Msg) error {
		for _, m := range msgs {
			_, span := b.span(ctx, m, Parcels, "courier", m.Headers().Get(headerID))
			span.End()
		}
		b.ack(msgs)
		return nil
	})
}
