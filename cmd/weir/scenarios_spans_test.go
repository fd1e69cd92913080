package main

import (
	"bytes"
	"context"
	bigendian "encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/weirhq/weir/query/answer"
)

// Scenario 18: both applications lose 2 % of their spans on the way out. Of one pipeline 1 % of the messages are lost as well; of
// the other none. In its first minute weir cannot tell whether a producer span was lost or came before it looked.
func (a *apps) spansLost() {
	t := a.t
	a.begin("s18")
	const windows = 4
	const known = 62 * time.Second // from the start of weir on until it can tell
	from := (a.began.Add(known).Unix()/a.width + 1) * a.width
	early := a.later(0)
	for world, topic := range []string{"s18-losing", "s18-well"} {
		a.goes(topic, func(ctx context.Context) error {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; {
				select {
				case <-ctx.Done():
					return nil
				case now := <-tick.C:
					n := 10 // later messages show that earlier ones are missing
					if at := now.Unix(); at >= from && at < from+windows*a.width || at >= early && at < early+a.width {
						n = 200
					}
					up, down := newSpans(topic+"-shop"), newSpans(topic+"-bill")
					for range n {
						i++
						// The three are independent of each other: their moduli have no common factor.
						lost := world == 0 && i%100 == 0
						if lost {
							a.tally.in(now, func(w *truth) { w.lost++ })
						}
						if i%49 != 0 {
							up.add(world, i, now, topic, false)
						}
						if !lost && i%51 != 0 {
							down.add(world, i, now.Add(5*time.Millisecond), topic, true)
						}
					}
					for _, b := range []*spans{up, down} {
						if err := b.send(ctx, a.otlp); err != nil {
							return err
						}
					}
				}
			}
		})
	}
	judged := map[string]int{}
	a.within(time.Until(time.Unix(from+windows*a.width, 0))+150*time.Second, "windows of spans are judged", func() (string, bool) {
		judged = map[string]int{}
		for _, topic := range []string{"s18-losing", "s18-well"} {
			a.name = topic
			for _, g := range a.windows(from, windows) {
				if g.w.Settled {
					judged[topic]++
				}
			}
		}
		return fmt.Sprint(judged), judged["s18-losing"] == windows && judged["s18-well"] == windows
	})
	for _, topic := range []string{"s18-losing", "s18-well"} {
		a.name = topic
		for _, g := range a.windows(from, windows) {
			share := float64(g.w.Lost) / float64(g.w.Up)
			lost := 0
			if topic == "s18-losing" {
				lost = a.tally.of(g.w.Window).lost
			}
			switch {
			case g.row.Level != "T":
				t.Errorf("%+v", g.row)
			case lost == 0 && g.w.Verdict != "OK", lost > 0 && (g.w.Verdict != "PROBABLE_LOSS" || math.Abs(share-0.01) > 0.002 || math.Abs(float64(g.w.Lost)-float64(lost)) > float64(g.w.Epsilon)):
				t.Errorf("%s, %d lost: %+v (%.4f) %+v", topic, lost, g.w, share, g.w.Why)
			}
		}
	}
	for _, topic := range []string{"s18-losing", "s18-well"} {
		a.name = topic
		for _, g := range a.windows(early, 1) {
			lost := 0
			if topic == "s18-losing" {
				lost = a.tally.of(early).lost
			}
			if g.w.Verdict != "UNKNOWN" && lost == 0 || math.Abs(float64(g.w.Lost)-float64(lost)) > float64(g.w.Epsilon) {
				t.Errorf("%s, when weir was new: %+v %+v", topic, g.w, g.w.Why)
			}
		}
	}
	if p := a.page("s18-well"); p.State == answer.Losing {
		t.Errorf("%s: %s", p.State, p.Sentence)
	}
}

// spans is a request of one service.
type spans struct {
	all  ptrace.Traces
	list ptrace.SpanSlice
}

func newSpans(service string) *spans {
	all := ptrace.NewTraces()
	r := all.ResourceSpans().AppendEmpty()
	r.Resource().Attributes().PutStr("service.name", service)
	return &spans{all, r.ScopeSpans().AppendEmpty().Spans()}
}

// add adds the span of one message: of who wrote it, or of who took it.
func (b *spans) add(world, i int, at time.Time, topic string, taken bool) {
	var trace pcommon.TraceID
	bigendian.BigEndian.PutUint64(trace[:], uint64(world+1))
	bigendian.BigEndian.PutUint64(trace[8:], uint64(i)*0x9e3779b97f4a7c15+1)
	var wrote, took pcommon.SpanID
	bigendian.BigEndian.PutUint64(wrote[:], uint64(2*i+1))
	bigendian.BigEndian.PutUint64(took[:], uint64(2*i+2)|1<<62)
	s := b.list.AppendEmpty()
	s.SetTraceID(trace)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(2 * time.Millisecond)))
	s.Attributes().PutStr("messaging.system", "kafka")
	s.Attributes().PutStr("messaging.destination.name", topic)
	if taken {
		s.SetName("process " + topic)
		s.SetSpanID(took)
		s.SetParentSpanID(wrote)
		s.SetKind(ptrace.SpanKindConsumer)
		s.Attributes().PutStr("messaging.operation.type", "process")
		s.Attributes().PutStr("messaging.consumer.group.name", "bill")
		return
	}
	s.SetName("send " + topic)
	s.SetSpanID(wrote)
	s.SetKind(ptrace.SpanKindProducer)
	s.Attributes().PutStr("messaging.operation.type", "send")
}

func (b *spans) send(ctx context.Context, door string) error {
	body, err := ptraceotlp.NewExportRequestFromTraces(b.all).MarshalProto()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+door+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}
