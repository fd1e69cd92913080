package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/value"
)

// tally is what the receiver has seen.
type tally struct {
	Samples, Stale, Relabelled, Bytes, Requests uint64
}

// receiver takes remote write and counts what it is given.
type receiver struct {
	samples, stale, relabelled, bytes, requests atomic.Uint64
	zstd                                        *zstd.Decoder
}

// serveTargets answers /t/<n>/metrics, takes POST /api/v1/write and tells /tally, until standard input ends.
// Of the series of a target, every churn-th is missing in every other answer; 0 = none.
func serveTargets(targets, series, churn int) error {
	var scrapes atomic.Uint64
	mux := http.NewServeMux()
	for n := range targets {
		parts := splitBody(series, n)
		var round atomic.Uint64
		mux.HandleFunc(fmt.Sprintf("GET /t/%d/metrics", n), func(w http.ResponseWriter, r *http.Request) {
			k := scrapes.Add(1)
			absent := round.Add(1)%2 == 0
			var b bytes.Buffer
			for i, p := range parts {
				if churn > 0 && i%churn == churn-1 && absent {
					b.WriteString(p.head)
					continue
				}
				b.WriteString(p.head)
				b.WriteString(p.line)
				fmt.Fprintf(&b, "%d", k*uint64(i+1)) // counters grow, gauges wander
				if i%3 == 0 {
					fmt.Fprintf(&b, ".%d", k%97)
				}
				b.WriteByte('\n')
			}
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
				zw := gzip.NewWriter(w)
				_, _ = zw.Write(b.Bytes())
				_ = zw.Close()
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
			_, _ = w.Write(b.Bytes())
		})
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	rec := &receiver{zstd: z}
	mux.HandleFunc("POST /api/v1/write", rec.write)
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { // audit cells and the like
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /tally", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, rec.samples.Load(), rec.stale.Load(), rec.relabelled.Load(), rec.bytes.Load(), rec.requests.Load())
	})
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type part struct{ head, line string } // comments before the line; the line up to its value

// splitBody returns the text between the values of an answer, much like an application's with HTTP and runtime metrics.
func splitBody(series, n int) []part {
	var parts []part
	for i := range series {
		var p part
		if i%10 == 0 {
			p.head = fmt.Sprintf("# HELP app_requests_%d_total Requests handled by kind %d.\n# TYPE app_requests_%d_total counter\n", i/10, i/10, i/10)
		}
		p.line = fmt.Sprintf("app_requests_%d_total{method=\"GET\",path=\"/api/v1/resource/%d\",code=\"200\",shard=\"%d\"} ", i/10, i%10, n%7)
		parts = append(parts, p)
	}
	return parts
}

func (rec *receiver) write(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	raw := body
	if r.Header.Get("Content-Encoding") == "zstd" {
		if raw, err = rec.zstd.DecodeAll(body, nil); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	n := rec.count(raw)
	rec.bytes.Add(uint64(len(body)))
	rec.requests.Add(1)
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
	w.WriteHeader(http.StatusNoContent)
}

// count reads an io.prometheus.write.v2.Request: symbols (4) and series (5) with label references (1) and samples (2).
func (rec *receiver) count(p []byte) int {
	class, symbols, total := uint64(0), uint64(0), 0
	fields(p, func(number uint64, body []byte) {
		switch number {
		case 4:
			if string(body) == "class" {
				class = symbols
			}
			symbols++
		case 5:
			fields(body, func(number uint64, part []byte) {
				switch number {
				case 1:
					for name := true; len(part) > 0; name = !name {
						v, n := binary.Uvarint(part)
						if n <= 0 {
							return
						}
						if name && v == class && class != 0 {
							rec.relabelled.Add(1)
						}
						part = part[n:]
					}
				case 2:
					total++
					if len(part) > 9 && part[0] == 1<<3|1 && binary.LittleEndian.Uint64(part[1:]) == value.StaleNaN {
						rec.stale.Add(1)
					}
				}
			})
		}
	})
	rec.samples.Add(uint64(total))
	return total
}

// fields calls f for every length-delimited field.
func fields(p []byte, f func(number uint64, body []byte)) {
	for len(p) > 0 {
		tag, n := binary.Uvarint(p)
		size, m := binary.Uvarint(p[max(n, 0):])
		if n <= 0 || m <= 0 || tag&7 != 2 || size > uint64(len(p)-n-m) {
			return
		}
		f(tag>>3, p[n+m:n+m+int(size)])
		p = p[n+m+int(size):]
	}
}
