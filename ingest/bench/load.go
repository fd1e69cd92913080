package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"golang.org/x/sync/errgroup"
)

// The load: senders of one batch after the other, as collectors are.
const (
	senders         = 8
	batchesOfSender = 4    // different batches; 8 × 4 × 2000 = 64,000 series
	samplesOfBatch  = 2000 // with ten labels each
	spansOfBatch    = 500  // with eight attributes each
	duration        = 8 * time.Second
)

type poster struct {
	client   http.Client
	requests atomic.Int64
	busy     atomic.Int64
}

func (p *poster) post(ctx context.Context, url, contentType string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("cannot make request: %w", err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", "zstd")
	began := time.Now()
	resp, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("cannot send: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("cannot read answer: %w", err)
	}
	p.requests.Add(1)
	p.busy.Add(int64(time.Since(began)))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answer %d: %s", resp.StatusCode, text)
	}
	return nil
}

// seriesRequest is a batch whose samples are moved in time before each sending.
func seriesRequest(sender, batch int) *writev2.Request {
	st := writev2.NewSymbolTable()
	req := &writev2.Request{Timeseries: make([]writev2.TimeSeries, samplesOfBatch)}
	for i := range req.Timeseries {
		id := (sender*batchesOfSender+batch)*samplesOfBatch + i
		req.Timeseries[i] = writev2.TimeSeries{
			LabelsRefs: st.SymbolizeLabels(labels.FromStrings(
				"__name__", "http_server_requests_total", "cluster", "eu-1", "code", "200", "handler", "/api/v1/"+strconv.Itoa(id%200),
				"instance", "10.0."+strconv.Itoa(sender)+"."+strconv.Itoa(batch)+":8080", "job", "api", "method", "GET",
				"node", "node-"+strconv.Itoa(sender), "pod", "api-"+strconv.Itoa(id/200), "service", "checkout"), nil),
			Samples: make([]writev2.Sample, 1),
		}
	}
	req.Symbols = st.Symbols()
	return req
}

func measureSamples(ctx context.Context, c *child, rows []row) ([]row, error) {
	const typ = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	reqs := make([][]*writev2.Request, senders)
	for s := range reqs {
		for b := range batchesOfSender {
			reqs[s] = append(reqs[s], seriesRequest(s, b))
		}
	}
	p := &poster{client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}}
	round := func(ctx context.Context, s int, enc *zstd.Encoder, t int64) error {
		for _, req := range reqs[s] {
			for i := range req.Timeseries {
				req.Timeseries[i].Samples[0] = writev2.Sample{Timestamp: t, Value: float64(t / 1000 % 1e6)}
			}
			b, err := req.Marshal()
			if err != nil {
				return fmt.Errorf("cannot encode: %w", err)
			}
			if err := p.post(ctx, c.url+"/api/v1/write", typ, enc.EncodeAll(b, nil)); err != nil {
				return err
			}
		}
		return nil
	}
	begin := time.Now().Add(-45 * time.Minute).UnixMilli()
	run := func(rounds int, from int64, until time.Time) (items, requests int, busy time.Duration, err error) {
		p.requests.Store(0)
		p.busy.Store(0)
		g, ctx := errgroup.WithContext(ctx)
		for s := range senders {
			g.Go(func() error {
				enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
				if err != nil {
					return fmt.Errorf("cannot make encoder: %w", err)
				}
				for n := 0; n < rounds && (until.IsZero() || time.Now().Before(until)); n++ {
					if err := round(ctx, s, enc, from+int64(n)*1000); err != nil {
						return err
					}
				}
				return nil
			})
		}
		err = g.Wait()
		requests = int(p.requests.Load())
		return requests * samplesOfBatch, requests, time.Duration(p.busy.Load()), err
	}
	r, err := c.phase("remote write 2.0, new series (P6)", func() (int, int, time.Duration, error) { return run(1, begin, time.Time{}) })
	if err != nil {
		return rows, err
	}
	rows = append(rows, r)
	r, err = c.phase("remote write 2.0, known series (P5)", func() (int, int, time.Duration, error) {
		return run(2500, begin+1000, time.Now().Add(duration))
	})
	return append(rows, r), err
}

// spanRequest is a batch of new traces of ten spans.
func spanRequest(batch uint64) ([]byte, error) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	ra := rs.Resource().Attributes()
	ra.PutStr("service.name", "checkout")
	ra.PutStr("host.name", "node-1")
	ra.PutStr("container.id", "0123456789abcdef")
	ra.PutStr("service.version", "1.2.3")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	now := uint64(time.Now().UnixNano())
	for i := range uint64(spansOfBatch) {
		s := spans.AppendEmpty()
		var trace pcommon.TraceID
		var id pcommon.SpanID
		binary.BigEndian.PutUint64(trace[:8], (batch<<16|i/10)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(trace[8:], batch<<16|i/10+1)
		binary.BigEndian.PutUint64(id[:], (batch<<16|i+1)*0x9e3779b97f4a7c15)
		s.SetTraceID(trace)
		s.SetSpanID(id)
		s.SetName("GET /api/v1/orders")
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(pcommon.Timestamp(now + i*1000))
		s.SetEndTimestamp(pcommon.Timestamp(now + i*1000 + 250_000 + i*37))
		a := s.Attributes()
		a.PutStr("http.request.method", "GET")
		a.PutStr("http.route", "/api/v1/orders")
		a.PutStr("url.path", "/api/v1/orders/"+strconv.FormatUint(i, 10))
		a.PutInt("http.response.status_code", 200)
		a.PutStr("network.peer.address", "10.0.0."+strconv.FormatUint(i%250, 10))
		a.PutStr("user_agent.original", "Mozilla/5.0")
		a.PutInt("messaging.batch.message_count", int64(i%100))
		a.PutBool("cache.hit", i%3 == 0)
	}
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		return nil, fmt.Errorf("cannot encode: %w", err)
	}
	return b, nil
}

func measureSpans(ctx context.Context, c *child, rows []row) ([]row, error) {
	p := &poster{client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}}
	var batch atomic.Uint64
	r, err := c.phase("OTLP spans, HTTP protobuf (P9)", func() (int, int, time.Duration, error) {
		until := time.Now().Add(duration)
		var g errgroup.Group
		var once sync.Once
		var first error
		for range senders {
			g.Go(func() error {
				enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
				if err != nil {
					return fmt.Errorf("cannot make encoder: %w", err)
				}
				for time.Now().Before(until) {
					b, err := spanRequest(batch.Add(1))
					if err == nil {
						err = p.post(ctx, c.url+"/v1/traces", "application/x-protobuf", enc.EncodeAll(b, nil))
					}
					if err != nil {
						once.Do(func() { first = err })
						return err
					}
				}
				return nil
			})
		}
		_ = g.Wait() // first holds it
		n := int(p.requests.Load())
		return n * spansOfBatch, n, time.Duration(p.busy.Load()), first
	})
	return append(rows, r), err
}
