package pairs

import (
	"context"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

type nowhere struct{ store.Ledger }

func (nowhere) PutPairs(context.Context, store.Tenant, []cell.Pair) error { return nil }

// BenchmarkObserve: one span of a request of 1,000. plain: no messaging span; mixed: a quarter; messaging: all of them.
func BenchmarkObserve(b *testing.B) {
	for _, c := range []struct {
		name  string
		every int
	}{{"plain", 0}, {"mixed", 4}, {"messaging", 1}} {
		b.Run(c.name, func(b *testing.B) {
			p := New(DefaultConfig(), "i", time.Now(), func() store.Ledger { return nowhere{} }, slog.New(slog.DiscardHandler), metrics.NewSet())
			spans := make([]store.Span, 1000)
			http := []store.Attr{
				{Key: "http.request.method", Str: "GET"},
				{Key: "url.path", Str: "/orders"},
				{Key: "server.address", Str: "shop"},
				{Key: "http.response.status_code", Kind: store.AttrInt, Num: 200},
				{Key: "network.protocol.version", Str: "1.1"},
				{Key: "thread.id", Kind: store.AttrInt, Num: 3},
				{Key: "user_agent.original", Str: "curl"},
				{Key: "client.address", Str: "1.2.3.4"},
			}
			msg := []store.Attr{
				{Key: "messaging.system", Str: "kafka"},
				{Key: "messaging.destination.name", Str: "orders"},
				{Key: "messaging.operation.type", Str: "send"},
				{Key: "messaging.message.id", Str: "x-1"},
				{Key: "thread.id", Kind: store.AttrInt, Num: 3},
				{Key: "messaging.destination.partition.id", Str: "3"},
			}
			read := append([]store.Attr{{Key: "messaging.consumer.group.name", Str: "g"}}, msg...)
			read[3].Str = "process"
			at, n := time.Now(), uint64(0)
			links := make([]store.SpanLink, 1000)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(spans) {
				for j := range spans {
					sp := &spans[j]
					*sp = store.Span{Start: at.UnixNano(), Duration: 1e6, Service: "shop", Kind: store.KindServer, Attrs: http}
					if j%3 == 1 {
						sp.Kind = store.KindClient
					}
					n++
					binary.BigEndian.PutUint64(sp.Trace[8:], n*0x9e3779b97f4a7c15)
					binary.BigEndian.PutUint64(sp.ID[:], n)
					if c.every > 0 && j%c.every == 0 {
						if j/c.every%2 == 0 {
							sp.Service, sp.Kind, sp.Attrs = "shop", store.KindProducer, msg
						} else {
							sp.Service, sp.Kind, sp.Attrs = "enrich", store.KindConsumer, read
							prev := &spans[j-c.every]
							links[j] = store.SpanLink{Trace: prev.Trace, Span: prev.ID}
							sp.Links = links[j : j+1]
						}
					}
				}
				p.ObserveAt("t", spans, at)
				at = at.Add(5 * time.Millisecond)
				if i/len(spans)%1000 == 999 {
					if err := p.Flush(b.Context(), at); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
