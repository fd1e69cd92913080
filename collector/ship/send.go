package ship

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/collector/signal"
)

const (
	maxAnswer     = 64 << 10
	maxWords      = 500
	maxRetryAfter = 5 * time.Minute
)

// verdict is what the server decided about a record.
type verdict struct {
	answer   string // one of answers
	rejected int    // items
	status   int
	words    string
}

// send makes one attempt. An error means: keep the record, try again, not before retry has passed.
func (s *Shipper) send(ctx context.Context, r Record) (v verdict, retry time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.doors[r.Kind], bytes.NewReader(r.Body))
	if err != nil {
		return verdict{answer: "failed"}, 0, err
	}
	for name, value := range s.cfg.Headers {
		req.Header.Set(name, value)
	}
	h := req.Header
	switch r.Kind {
	case signal.Samples:
		h.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		h.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	case signal.Cells:
		h.Set("Content-Type", "application/json")
	default:
		h.Set("Content-Type", "application/x-protobuf")
	}
	if r.ContentEncoding != "" {
		h.Set("Content-Encoding", r.ContentEncoding)
	}
	h.Set("User-Agent", "weir-collector")
	h.Set("Weir-Node", s.node)
	h.Set("Weir-Spool", s.src.ID())
	h.Set("Weir-Sequence", strconv.FormatUint(r.Seq, 10))
	h.Set("Weir-Epoch", strconv.FormatInt(s.epoch, 10))
	bearer, err := s.token.get()
	if err != nil {
		return verdict{answer: "failed"}, 0, err
	}
	if bearer != "" {
		h.Set("Authorization", "Bearer "+bearer)
	}

	begin := time.Now()
	resp, err := s.client.Do(req)
	s.latency.UpdateDuration(begin)
	if err != nil {
		return verdict{answer: "failed"}, 0, err
	}
	defer resp.Body.Close()
	s.clock.observe(resp.Header, begin, time.Now())
	s.sent.Add(len(r.Body))
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // to the end, so that the connection can be used again
	if err != nil && resp.StatusCode/100 == 2 && len(body) == 0 {
		err = nil // the status has said all that matters
	}
	if err != nil && resp.StatusCode/100 != 4 {
		return verdict{answer: "failed"}, 0, fmt.Errorf("cannot read the answer of the server: %w", err)
	}
	return judge(r, resp, body)
}

// judge turns an answer into a verdict, or into an error when the record is to be tried again.
func judge(r Record, resp *http.Response, body []byte) (verdict, time.Duration, error) {
	v := verdict{status: resp.StatusCode, words: words(body)}
	switch code := resp.StatusCode; {
	case code/100 == 2:
		v.answer = "ok"
		switch r.Kind {
		case signal.Spans, signal.Points:
			v.rejected, v.words = partialSuccess(resp.Header.Get("Content-Type"), body)
		case signal.Samples:
			if n, ok := written(resp.Header); ok {
				v.rejected = r.Items - n
			}
		default: // audit takes a batch or refuses it
		}
		v.rejected = min(max(v.rejected, 0), r.Items)
		if v.rejected > 0 {
			v.answer = "partial"
		}
		return v, 0, nil
	case code == http.StatusTooManyRequests || code >= 500:
		v.answer = "busy"
		return v, retryAfter(resp.Header.Get("Retry-After"), time.Now()), fmt.Errorf("server answered %d: %s", code, v.words)
	case code/100 == 3 || aboutTheSender(code):
		// Says nothing about the data: a wrong token or path must not cost any. The spool keeps it until somebody mends it.
		v.answer = "refused"
		way := "check server url, paths and token_file"
		if to := resp.Header.Get("Location"); to != "" {
			way = "redirects are not followed; set the server url to where it points: " + words([]byte(to))
		}
		return v, retryAfter(resp.Header.Get("Retry-After"), time.Now()), fmt.Errorf("server answered %d: %s: %s", code, v.words, way)
	case code/100 == 4:
		v.answer, v.rejected = "rejected", r.Items
		if r.Kind == signal.Samples {
			if n, ok := written(resp.Header); ok && n > 0 { // a partial write
				v.answer, v.rejected = "partial", max(r.Items-n, 0)
			}
		}
		return v, 0, nil
	default:
		v.answer = "failed"
		return v, 0, fmt.Errorf("server answered %d: %s", code, v.words)
	}
}

// aboutTheSender tells the 4xx that complain of who asks, where or when, and not of the data.
func aboutTheSender(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked, http.StatusTooEarly:
		return true
	default:
		return false
	}
}

// written sums what remote write 2.0 says was written; false when the server does not say.
func written(h http.Header) (int, bool) {
	total, known := 0, false
	for _, name := range [...]string{"X-Prometheus-Remote-Write-Samples-Written", "X-Prometheus-Remote-Write-Histograms-Written"} {
		if n, err := strconv.Atoi(h.Get(name)); err == nil && n >= 0 {
			total, known = total+n, true
		}
	}
	return total, known
}

// partialSuccess reads field 1 of an OTLP export response: rejected items (1) and message (2).
func partialSuccess(contentType string, body []byte) (int, string) {
	if !strings.HasPrefix(contentType, "application/x-protobuf") {
		return 0, ""
	}
	rejected, message := 0, ""
	fields(body, func(n uint64, _ uint64, p []byte) {
		if n != 1 {
			return
		}
		fields(p, func(n uint64, v uint64, p []byte) {
			switch n {
			case 1:
				rejected = int(min(v, 1<<31))
			case 2:
				message = words(p)
			}
		})
	})
	return rejected, message
}

// fields walks the varint and length-delimited fields of a protobuf message and stops at anything else.
func fields(p []byte, f func(number, value uint64, data []byte)) {
	for len(p) > 0 {
		tag, n := binary.Uvarint(p)
		if n <= 0 {
			return
		}
		p = p[n:]
		v, n := binary.Uvarint(p)
		if n <= 0 {
			return
		}
		p = p[n:]
		switch tag & 7 {
		case 0:
			f(tag>>3, v, nil)
		case 2:
			if v > uint64(len(p)) {
				return
			}
			f(tag>>3, v, p[:v])
			p = p[v:]
		default:
			return
		}
	}
}

// retryAfter reads seconds or a date; what makes no sense is 0.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// words makes a server's answer fit for one line of a log.
func words(p []byte) string {
	p = bytes.TrimSpace(p[:min(len(p), maxWords)])
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(p), "?"))
}

// token reads a bearer token from a file and again when the file changes.
type token struct {
	file string
	mu   sync.Mutex
	at   time.Time
	size int64
	text string
}

func (t *token) get() (string, error) {
	if t.file == "" {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st, err := os.Stat(t.file)
	if err != nil {
		return "", fmt.Errorf("cannot read server token_file: %w", err)
	}
	if st.ModTime().Equal(t.at) && st.Size() == t.size {
		return t.text, nil
	}
	raw, err := os.ReadFile(t.file)
	if err != nil {
		return "", fmt.Errorf("cannot read server token_file: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" || strings.ContainsAny(text, "\r\n") || len(text) > 8192 {
		return "", errors.New("cannot use server token_file: it must hold one token on one line")
	}
	t.at, t.size, t.text = st.ModTime(), st.Size(), text
	return text, nil
}
