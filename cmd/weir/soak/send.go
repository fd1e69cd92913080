package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/weirhq/weir/collector/remotewrite"
)

// request is one batch, sent again until it is acknowledged.
type request struct {
	url    string
	body   []byte
	header []string
	entry  entry
	items  int // samples, spans, cells in it
}

// maker builds batch number n of a kind.
type maker func(n int) (request, error)

func (s *soak) makers(head entry) (map[string]maker, error) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot make a zstd encoder: %w", err)
	}
	series := sampleSeries(head.Run, s.cfg.Batch)
	rw := remotewrite.NewBatch()
	var lastT int64
	window, count := int64(0), 0
	m := map[string]maker{
		Samples: func(n int) (request, error) {
			lastT = max(time.Now().UnixMilli(), lastT+1) // no two batches at one time: each has samples of its own
			body := encodeSamples(rw, series, n, lastT)
			// Both compressions of remote write 2.0, in turn.
			form, pack := "snappy", func(b []byte) []byte { return snappy.Encode(nil, b) }
			if n%2 == 0 {
				form, pack = "zstd", func(b []byte) []byte { return enc.EncodeAll(b, nil) }
			}
			return request{
				s.cfg.Server + "/api/v1/write", pack(body),
				[]string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding", form, "X-Prometheus-Remote-Write-Version", "2.0.0"},
				entry{Kind: Samples, Batch: n, T: lastT, N: len(series)},
				len(series),
			}, nil
		},
		Spans: s.spanMaker(s.cfg.Server, Spans, head),
		Cells: func(n int) (request, error) {
			if w := time.Now().Unix() / 60 * 60; w != window {
				window, count = w, 0
			}
			count += s.cfg.Batch
			body, err := encodeCells(head, n, window, s.cfg.Batch/10, count)
			return request{s.cfg.Server + "/api/v1/audit", body, []string{"Content-Type", "application/json"}, entry{Kind: Cells, Batch: n, T: window, N: count}, s.cfg.Batch / 10}, err
		},
	}
	if s.cfg.Collector != "" {
		m[CollectorSpans] = s.spanMaker(s.cfg.Collector, CollectorSpans, head)
	}
	return m, nil
}

func (s *soak) spanMaker(base, kind string, head entry) maker {
	return func(n int) (request, error) {
		k := s.cfg.Batch / 5
		return request{
			base + "/v1/traces", encodeSpans(head.Run, kind, n, k, time.Now()),
			[]string{"Content-Type", "application/x-protobuf"},
			entry{Kind: kind, Batch: n, N: k},
			k,
		}, nil
	}
}

// send runs one sender per kind until ctx ends or Count is reached; a batch under way is not given up
// before its answer, at most for a request's timeout.
func (s *soak) send(ctx context.Context) (Report, error) {
	now := time.Now()
	head := entry{Run: strconv.FormatInt(now.UnixMilli(), 36), Size: s.cfg.Batch, Epoch: now.UnixMilli()}
	l, next, err := openLedger(s.cfg.Ledger, head)
	if err != nil {
		return Report{}, err
	}
	makers, err := s.makers(l.head)
	if err != nil {
		return Report{}, err
	}
	rep := Report{Run: l.head.Run}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for kind, mk := range makers {
		wg.Go(func() {
			line, err := s.sendKind(ctx, l, kind, next[kind], mk)
			mu.Lock()
			defer mu.Unlock()
			rep.Lines = append(rep.Lines, line)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	sortLines(rep.Lines)
	return rep, errors.Join(append(errs, l.close())...)
}

func (s *soak) sendOnly(ctx context.Context) (Report, error) {
	if s.cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.Duration)
		defer cancel()
	}
	return s.send(ctx)
}

func (s *soak) sendKind(ctx context.Context, l *ledger, kind string, last int, mk maker) (Line, error) {
	line := Line{Kind: kind}
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.cfg.Rate))
	defer tick.Stop()
	for n := last + 1; s.cfg.Count == 0 || line.Batches < s.cfg.Count; n++ {
		select {
		case <-ctx.Done():
			return line, nil
		case <-tick.C:
		}
		req, err := mk(n)
		if err != nil {
			return line, err
		}
		ok, err := s.deliver(ctx, req)
		if err != nil {
			return line, fmt.Errorf("%s batch %d: %w", kind, n, err)
		}
		if !ok {
			return line, nil
		}
		if err := l.add(req.entry); err != nil {
			return line, err
		}
		line.Batches++
		line.Acknowledged += req.items
	}
	return line, nil
}

// deliver sends one batch until it is acknowledged; false when ctx ended before.
// A refusal that can never become right is an error: nothing here may be refused.
func (s *soak) deliver(ctx context.Context, req request) (bool, error) {
	wait := 20 * time.Millisecond
	for {
		// The answer to a request under way is awaited even when ctx ends: it may acknowledge.
		code, text, err := s.post(context.WithoutCancel(ctx), req)
		switch {
		case err == nil && code/100 == 2 && strings.Trim(text, "\n\x00") != "":
			// An OTLP answer with more than an empty partial_success.
			return false, fmt.Errorf("taken in part only: %q", text)
		case err == nil && code/100 == 2:
			return true, nil
		case err == nil && code/100 == 4 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
			return false, fmt.Errorf("refused with %d: %s", code, text)
		}
		s.cfg.Logger.Debug("not acknowledged, sending again", "url", req.url, "batch", req.entry.Batch, "code", code, "error", err)
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(wait):
		}
		wait = min(2*wait, 500*time.Millisecond)
	}
}

func (s *soak) post(ctx context.Context, req request) (code int, text string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, req.url, bytes.NewReader(req.body))
	if err != nil {
		return 0, "", fmt.Errorf("cannot make request: %w", err)
	}
	for i := 0; i+1 < len(req.header); i += 2 {
		r.Header.Set(req.header[i], req.header[i+1])
	}
	return s.do(r, 64<<10)
}

// do returns the body as text, at most limit bytes of it. An answer that breaks off is an error.
func (s *soak) do(r *http.Request, limit int64) (code int, text string, err error) {
	if s.cfg.Token != "" {
		r.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, "", fmt.Errorf("cannot send: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return 0, "", fmt.Errorf("cannot read answer: %w", err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b)), nil
}
