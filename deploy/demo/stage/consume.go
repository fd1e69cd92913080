package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/collector/client"
)

const batch = 100

// consume fetches from stream for group, a batch at a time, at the pace the faults allow.
func (b *base) consume(ctx context.Context, stream, group string, handle func(context.Context, []jetstream.Msg) error) error {
	c, err := b.ensure(ctx, stream, group)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if b.fault.stalled.Load() {
			wait(ctx, 50*time.Millisecond)
			continue
		}
		n := batch
		began := time.Now()
		slow := b.fault.slowPerSec.Load()
		if slow > 0 {
			n = max(1, int(min(slow/10, batch)))
		}
		got, err := c.Fetch(n, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			b.logger.Warn("cannot fetch, trying again", "stream", stream, "error", err)
			wait(ctx, 200*time.Millisecond)
			continue
		}
		msgs := make([]jetstream.Msg, 0, n)
		for m := range got.Messages() {
			msgs = append(msgs, m)
		}
		if err := handle(ctx, msgs); err != nil {
			return err
		}
		if slow > 0 && len(msgs) > 0 {
			pace := time.Duration(len(msgs)) * time.Second / time.Duration(slow)
			wait(ctx, pace-time.Since(began))
		}
	}
	return nil
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// read takes the audit's view of a message from its headers.
func read(m jetstream.Msg) client.Record {
	r := client.Record{ID: m.Headers().Get(headerID), Bytes: len(m.Data())}
	if ms, err := strconv.ParseInt(m.Headers().Get(headerTime), 10, 64); err == nil {
		r.Time = time.UnixMilli(ms)
	}
	return r
}

// span begins the processing span: a child of the producer's, with a link to it as messaging conventions ask.
func (b *base) span(ctx context.Context, m jetstream.Msg, source, group, id string) (context.Context, trace.Span) {
	up := propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(m.Headers()))
	return b.tracer.Start(up, "process "+source, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: trace.SpanContextFromContext(up)}), trace.WithAttributes(
			attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", source),
			attribute.String("messaging.consumer.group.name", group), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.message.id", id)))
}

type passed struct {
	in   jetstream.Msg
	rec  client.Record
	ack  jetstream.PubAckFuture
	span trace.Span
	send trace.Span
}

// enrich adds a country to each order and passes it on.
func (b *base) enrich(ctx context.Context) error {
	handled := b.set.NewCounter("demo_orders_enriched_total")
	if _, err := b.ensure(ctx, Dead, ""); err != nil {
		return err
	}
	return b.consume(ctx, Orders, "enrich", func(ctx context.Context, msgs []jetstream.Msg) error {
		began := time.Now()
		var out []passed
		var done []jetstream.Msg // dealt with otherwise than by passing on
		for _, m := range msgs {
			rec := read(m)
			b.audit.In(Orders, "enrich", rec)
			sctx, span := b.span(ctx, m, Orders, "enrich", rec.ID)
			if due(&b.fault.seen, b.fault.dropEvery.Load()) {
				// The silent bug: acknowledged, never passed on, nothing counted but in the injector's ledger.
				if err := b.note("dropped", rec); err != nil {
					return err
				}
				span.End()
				done = append(done, m)
				continue
			}
			aside, err := b.setAside(ctx, m, rec)
			if err != nil {
				return err
			}
			if aside {
				span.End()
				done = append(done, m)
				continue
			}
			p, err := b.pass(sctx, m, rec, span)
			if err != nil {
				return err
			}
			out = append(out, p)
			handled.Inc()
		}
		for _, p := range out {
			if b.confirmed(ctx, p) {
				done = append(done, p.in)
			}
		}
		b.flushCounts(ctx)
		b.ack(done)
		if len(msgs) > 0 {
			b.audit.Count("orders.enriched", float64(len(out)))
			b.audit.Observe("orders.enrich.duration", time.Since(began).Seconds()/float64(len(msgs)))
		}
		return nil
	})
}

// setAside leaves a record out, or puts it into the dead-letter stream, when the faults say so. Both are counted.
func (b *base) setAside(ctx context.Context, m jetstream.Msg, rec client.Record) (bool, error) {
	if n := b.fault.filterOfTen.Load(); n > 0 && b.fault.seen.Add(1)%10 < n {
		b.audit.Filtered(rec)
		return true, b.note("filtered", rec)
	}
	if !due(&b.fault.seen, b.fault.deadEvery.Load()) {
		return false, nil
	}
	if err := b.note("dead-lettered", rec); err != nil {
		return false, err
	}
	letter := nats.NewMsg(Dead + "." + b.cfg.Service)
	letter.Data, letter.Header = m.Data(), m.Headers()
	if _, err := b.js.PublishMsg(ctx, letter); err != nil {
		return false, fmt.Errorf("cannot put a record into the dead-letter stream: %w", err)
	}
	b.audit.DeadLettered(Dead, rec)
	return true, nil
}

// ack tells the broker that records are dealt with.
func (b *base) ack(msgs []jetstream.Msg) {
	for _, m := range msgs {
		if err := m.Ack(); err != nil {
			b.logger.Warn("cannot acknowledge", "error", err)
		}
	}
}

func (b *base) note(kind string, rec client.Record) error {
	w := int64(b.cfg.Window / time.Second)
	return b.ledger.Add(Entry{Kind: kind, Stage: b.cfg.Service, Window: rec.Time.Unix() / w * w, ID: rec.ID})
}

func (b *base) pass(ctx context.Context, m jetstream.Msg, rec client.Record, span trace.Span) (passed, error) {
	var o order
	if err := json.Unmarshal(m.Data(), &o); err != nil {
		return passed{}, fmt.Errorf("cannot read an order: %w", err)
	}
	o.Country = [...]string{"DE", "FR", "IT", "NL"}[o.Customer%4]
	body, err := json.Marshal(o)
	if err != nil {
		return passed{}, err
	}
	rec.Bytes = len(body)
	sctx, send := b.tracer.Start(ctx, "send "+Enriched, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", Enriched),
		attribute.String("messaging.operation.type", "send"), attribute.String("messaging.message.id", rec.ID)))
	n := nats.NewMsg(Enriched + "." + o.Country)
	n.Data = body
	n.Header.Set(headerTime, strconv.FormatInt(rec.Time.UnixMilli(), 10))
	n.Header.Set(headerID, rec.ID)
	propagation.TraceContext{}.Inject(sctx, propagation.HeaderCarrier(n.Header))
	ack, err := b.js.PublishMsgAsync(n)
	if err != nil {
		return passed{}, fmt.Errorf("cannot publish: %w", err)
	}
	if due(&b.fault.writes, b.fault.doubleEvery.Load()) {
		if err := b.note("doubled", rec); err != nil {
			return passed{}, err
		}
		twin := nats.NewMsg(n.Subject)
		twin.Data, twin.Header = n.Data, n.Header
		if _, err := b.js.PublishMsgAsync(twin); err != nil {
			return passed{}, fmt.Errorf("cannot publish: %w", err)
		}
	}
	return passed{in: m, rec: rec, ack: ack, span: span, send: send}, nil
}

// confirmed counts a record as put out when the broker has it; only then its source may be acknowledged.
func (b *base) confirmed(ctx context.Context, p passed) bool {
	defer p.span.End()
	defer p.send.End()
	for {
		select {
		case <-p.ack.Ok():
			b.audit.Out(Enriched, p.rec)
			return true
		case err := <-p.ack.Err():
			b.logger.Warn("the broker did not confirm, trying again", "error", err)
			again, perr := b.js.PublishMsgAsync(p.ack.Msg())
			if perr != nil {
				if wait(ctx, 100*time.Millisecond); ctx.Err() != nil {
					return false
				}
				continue
			}
			p.ack = again
		case <-time.After(30 * time.Second):
			b.logger.Error("the broker never answered", "id", p.rec.ID)
			return false
		}
	}
}

const maxTable = 64 << 20

// sink appends records to a file, the demo's warehouse.
func (b *base) sink(ctx context.Context) error {
	stored := b.set.NewCounter("demo_orders_stored_total")
	name := filepath.Join(b.cfg.Dir, Table+".jsonl")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cannot open the warehouse: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 64<<10)
	return b.consume(ctx, Enriched, "sink", func(ctx context.Context, msgs []jetstream.Msg) error {
		var spans []trace.Span
		var done []jetstream.Msg
		for _, m := range msgs {
			rec := read(m)
			away, err := b.detour(m, rec)
			if err != nil {
				return err
			}
			if away {
				continue
			}
			done = append(done, m)
			b.audit.In(Enriched, "sink", rec)
			_, span := b.span(ctx, m, Enriched, "sink", rec.ID)
			spans = append(spans, span)
			if due(&b.fault.seen, b.fault.dropEvery.Load()) {
				if err := b.note("dropped", rec); err != nil {
					return err
				}
				continue
			}
			if _, err := w.Write(append(m.Data(), '\n')); err != nil {
				return fmt.Errorf("cannot write the warehouse: %w", err)
			}
			b.audit.Out(Table, rec)
			stored.Inc()
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("cannot write the warehouse: %w", err)
		}
		for _, s := range spans {
			s.End()
		}
		if len(done) > 0 {
			b.audit.Count("orders.stored", float64(len(done)))
		}
		b.flushCounts(ctx)
		b.ack(done)
		return b.rotate(f)
	})
}

// detour hands a record back to the broker for one and a half windows when the faults say so: it comes late, not never.
func (b *base) detour(m jetstream.Msg, rec client.Record) (bool, error) {
	every := b.fault.lateEvery.Load()
	if every == 0 {
		return false, nil
	}
	if meta, err := m.Metadata(); err != nil || meta.NumDelivered > 1 || !due(&b.fault.seen, every) {
		return false, err
	}
	if err := b.note("postponed", rec); err != nil {
		return false, err
	}
	if err := m.NakWithDelay(b.cfg.Window * 3 / 2); err != nil {
		return false, fmt.Errorf("cannot hand a record back: %w", err)
	}
	return true, nil
}

// rotate keeps the demo's file from filling the disk.
func (b *base) rotate(f *os.File) error {
	st, err := f.Stat()
	if err != nil || st.Size() < maxTable {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return errors.Join(errors.New("cannot begin the warehouse anew"), err)
	}
	return nil
}
