package spool

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/weirhq/weir/collector/signal"
)

// TestOutputRoundTrip: what the record says of its compression is how it opens.
func TestOutputRoundTrip(t *testing.T) {
	for _, c := range []struct {
		compression string
		kind        signal.Kind
		want        Encoding
	}{
		{"zstd", signal.Samples, Zstd},
		{"zstd", signal.Cells, Zstd},
		{"snappy", signal.Samples, Snappy},
		{"snappy", signal.Spans, Gzip},
	} {
		cfg := smallConfig()
		cfg.Compression = c.compression
		s, err := open(newSimFS(), "/spool", cfg, slog.New(slog.DiscardHandler), metrics.NewSet())
		if err != nil {
			t.Fatal(err)
		}
		o, err := NewOutput(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 2000, 20, 9000} {
			body := bytes.Repeat([]byte("weir "), size/5+1)[:size]
			if err := o.Append(t.Context(), c.kind, 1, body); err != nil {
				t.Fatal(err)
			}
			r, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			switch r.Encoding {
			case Zstd:
				d, _ := zstd.NewReader(nil)
				got, err = d.DecodeAll(r.Body, nil)
				d.Close()
			case Snappy:
				got, err = snappy.Decode(nil, r.Body)
			default:
				var g *gzip.Reader
				if g, err = gzip.NewReader(bytes.NewReader(r.Body)); err == nil {
					got, err = io.ReadAll(g)
				}
			}
			if err != nil || r.Encoding != c.want || !bytes.Equal(got, body) {
				t.Errorf("%s %s %d bytes: encoding %s, %d bytes, error %v", c.compression, c.kind, size, r.Encoding, len(got), err)
			}
		}
		if err := o.Append(t.Context(), c.kind, 1, make([]byte, cfg.MaxBodyBytes+1)); err == nil {
			t.Error("a body beyond max_body_bytes was taken")
		}
	}
}

// TestFull fills a spool that nobody reads: the bound holds, the oldest goes, the equation stays exact.
func TestFull(t *testing.T) {
	s, err := open(newSimFS(), "/spool", smallConfig(), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if i == 3 { // in flight when its segment is dropped: stays pending, settles later
			if _, err := s.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Append(signal.Samples, Identity, 10, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if s.bytes > s.cfg.MaxBytes {
			t.Fatalf("%d bytes, bound is %d", s.bytes, s.cfg.MaxBytes)
		}
	}
	c := s.Counts(signal.Samples)
	if c.Appended != 1000 || c.Full == 0 || c.Appended != c.Delivered+c.Pending+c.Full {
		t.Fatalf("counts %+v", c)
	}
	s.Ack(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	last := uint64(0)
	for {
		r, err := s.Next(ctx)
		if err != nil {
			break
		}
		if last == 0 && r.Seq-1 != c.Full/10+1 {
			t.Errorf("reading goes on at %d after %d items were dropped", r.Seq, c.Full)
		}
		last = r.Seq
		s.Ack(r.Seq)
	}
	if d := s.Counts(signal.Samples); last != 100 || d.Pending != 0 || d.Delivered+d.Full != 1000 || d.Full != c.Full {
		t.Errorf("last record %d, counts %+v", last, d)
	}
	if _, err := s.Append(signal.Samples, Identity, 1, make([]byte, s.cfg.MaxBytes)); err == nil {
		t.Error("a record larger than the spool was taken")
	}
}

// BenchmarkAppend measures durable appends on the disk of the temporary folder.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		for _, size := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("writers=%d/size=%d", writers, size), func(b *testing.B) {
				s, err := Open(b.TempDir(), DefaultConfig(), slog.New(slog.DiscardHandler), metrics.NewSet())
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				body := make([]byte, size)
				_, _ = rand.Read(body)
				took := make([][]time.Duration, writers)
				b.SetBytes(int64(size))
				b.ResetTimer()
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						mine := bytes.Clone(body)
						for i := w; i < b.N; i += writers {
							binary.LittleEndian.PutUint64(mine, uint64(i))
							begin := time.Now()
							if _, err := s.Append(signal.Samples, Zstd, 1, mine); err != nil {
								b.Error(err)
								return
							}
							took[w] = append(took[w], time.Since(begin))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				all := slices.Concat(took...)
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}
