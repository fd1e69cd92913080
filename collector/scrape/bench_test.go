package scrape

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/signal"
)

type nothing struct{}

func (nothing) Append(context.Context, signal.Kind, int, []byte) error { return nil }

// BenchmarkKnownAnswer is a scrape without the network: 1,000 series that were there before.
func BenchmarkKnownAnswer(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Targets = []TargetConfig{{Job: "x", Addresses: []string{"a:1"}}}
	s, err := New(cfg, "n1", nothing{}, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var bodies [2][]byte
	for n := range bodies {
		var body bytes.Buffer
		for i := range 1000 {
			if i%10 == 0 {
				fmt.Fprintf(&body, "# HELP app_requests_%d_total Requests handled.\n# TYPE app_requests_%d_total counter\n", i/10, i/10)
			}
			fmt.Fprintf(&body, "app_requests_%d_total{method=\"GET\",path=\"/api/v1/resource/%d\",code=\"200\",shard=\"1\"} %d\n", i/10, i%10, i*1000+n)
		}
		bodies[n] = body.Bytes()
	}
	t := s.targets[0]
	buf := new(buffers)
	scrape := func(i int) {
		buf.points = buf.points[:0]
		buf.found.reset()
		if err := t.cache.parse(bodies[i&1], false, &buf.found); err != nil {
			b.Fatal(err)
		}
		if _, err := t.collect(&buf.found, 1000, buf); err != nil {
			b.Fatal(err)
		}
		s.enc.add(b.Context(), buf.points, &buf.found, 1000)
	}
	scrape(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		scrape(i)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/sample")
}
