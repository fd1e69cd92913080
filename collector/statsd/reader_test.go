package statsd

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// packed returns datagrams that hold n series, 20 lines each.
func packed(n int) [][]byte {
	var all [][]byte
	var b strings.Builder
	for i := range n {
		kinds := []string{"1|c", "3.25|g", "1|c", "12.5|ms"}
		fmt.Fprintf(&b, "app.requests.metric%d:%s|#env:production,endpoint:%d\n", i%100, kinds[i%100%4], i/100)
		if i%20 == 19 {
			all = append(all, []byte(b.String()))
			b.Reset()
		}
	}
	return all
}

func benchReader(tb testing.TB) (*reader, *sender) {
	tb.Helper()
	r := newRig(tb, origins{}, nil)
	rd := r.newReader("statsd_udp")
	rd.now = time.Now().UnixNano()
	return rd, r.reg.sender("statsd_udp", Tags{Node: "n1"})
}

func TestKnownLinesDoNotAllocate(t *testing.T) {
	r, from := benchReader(t)
	d := []byte("a.b:1|c|#env:prod,x:y\na.b:1:2:3|ms|@0.5|#env:prod\nusers:bob|s\ntemp:+3|g|c:ci-1\nbad\na.b:x|c|#env:prod,x:y\n")
	r.datagram(d, from)
	if n := testing.AllocsPerRun(100, func() { r.datagram(d, from) }); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}

func BenchmarkKnownSeries(b *testing.B) {
	r, from := benchReader(b)
	all := packed(5000)
	for _, d := range all {
		r.datagram(d, from)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.datagram(all[i%len(all)], from)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20, "ns/metric")
}

func BenchmarkNewSeries(b *testing.B) {
	all := packed(5000)
	b.ReportAllocs()
	for b.Loop() {
		r, from := benchReader(b)
		for _, d := range all {
			r.datagram(d, from)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/series")
}
