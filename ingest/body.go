package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// refusal is an answer other than 2xx. Retry > 0 asks the sender to keep the data and come again.
type refusal struct {
	code  int
	kind  string // errorType of the answer and label of the counter: bounded
	msg   string
	retry time.Duration
}

func (e *refusal) Error() string { return e.msg }

func badData(format string, args ...any) *refusal {
	return &refusal{code: http.StatusBadRequest, kind: "bad_data", msg: fmt.Sprintf(format, args...)}
}

// bodies reads request bodies into pooled buffers under one common bound.
type bodies struct {
	cfg    Config
	inUse  atomic.Int64
	bufs   sync.Pool // *[]byte
	zstds  sync.Pool // *zstd.Decoder
	gzips  sync.Pool // *gzip.Reader
	window uint64    // largest zstd window
}

func newBodies(cfg Config) *bodies {
	return &bodies{cfg: cfg, window: uint64(max(cfg.MaxBody, 8<<20))}
}

// body is a decompressed request body. Nothing may point into data after free.
type body struct {
	data     []byte
	owner    *bodies
	buf      *[]byte
	reserved int64
}

func (b *body) free() {
	b.owner.put(b.buf)
	b.owner.inUse.Add(-b.reserved)
	b.data, b.buf, b.reserved = nil, nil, 0
}

// keepBuffer is the largest buffer worth keeping for the next request.
const keepBuffer = 8 << 20

func (bs *bodies) get() *[]byte {
	if p, ok := bs.bufs.Get().(*[]byte); ok {
		return p
	}
	return new([]byte)
}

func (bs *bodies) put(p *[]byte) {
	if p != nil && cap(*p) <= keepBuffer {
		bs.bufs.Put(p)
	}
}

func (bs *bodies) reserve(n int64) error {
	if bs.inUse.Add(n) > bs.cfg.MaxInFlight {
		bs.inUse.Add(-n)
		return &refusal{http.StatusServiceUnavailable, "overloaded", "too many request bodies are being worked on: send again later", time.Second}
	}
	return nil
}

// read takes the whole body, bounded before and after decompression.
// Decoders other than snappy's are bounded while they run, because their headers may say nothing or lie.
func (bs *bodies) read(w http.ResponseWriter, r *http.Request, defaultEncoding string) (*body, error) {
	// Not every ResponseWriter has deadlines (tests); the server's ReadHeaderTimeout stays.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bs.cfg.ReadTimeout))
	if r.ContentLength > int64(bs.cfg.MaxBody) {
		return nil, tooLarge(r.ContentLength, bs.cfg.MaxBody)
	}
	raw := bs.get()
	defer func() { bs.put(raw) }()
	held, err := bs.readRaw(r, raw)
	defer func() { bs.inUse.Add(-held) }()
	if err != nil {
		return nil, err
	}
	enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	if enc == "" {
		enc = defaultEncoding
	}
	if enc == "identity" {
		b := &body{data: *raw, owner: bs, buf: raw, reserved: held}
		raw, held = nil, 0
		return b, nil
	}
	return bs.unpack(enc, *raw)
}

// readRaw takes memory as bytes arrive, not as Content-Length promises: a promise costs the sender nothing.
func (bs *bodies) readRaw(r *http.Request, dst *[]byte) (held int64, err error) {
	const step = 256 << 10
	buf := (*dst)[:0]
	for {
		if int64(len(buf)) == held {
			grow := int64(max(step, len(buf)))
			if r.ContentLength >= 0 { // one more, so that the end is seen without growing again
				grow = min(grow, r.ContentLength-held+1)
			}
			if err := bs.reserve(grow); err != nil {
				return held, err
			}
			held += grow
			if int64(cap(buf)) < held {
				n := make([]byte, len(buf), held)
				copy(n, buf)
				buf = n
			}
		}
		n, err := r.Body.Read(buf[len(buf):held])
		buf = buf[:len(buf)+n]
		*dst = buf
		if len(buf) > bs.cfg.MaxBody {
			return held, tooLarge(int64(len(buf)), bs.cfg.MaxBody)
		}
		if errors.Is(err, io.EOF) {
			return held, nil
		}
		if err != nil {
			return held, readError(err, bs.cfg.ReadTimeout)
		}
	}
}

func readError(err error, limit time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &refusal{http.StatusRequestTimeout, "timeout", fmt.Sprintf("the body did not arrive within %s", limit), 0}
	}
	return &refusal{http.StatusBadRequest, "cut_off", "cannot read the body: " + err.Error(), 0}
}

func tooLarge(n int64, limit int) error {
	return &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body has %d bytes or more, the limit is %d: send smaller requests", n, limit), 0}
}

func (bs *bodies) unpack(enc string, raw []byte) (*body, error) {
	if len(raw) == 0 {
		return &body{owner: bs}, nil
	}
	switch enc {
	case "snappy":
		return bs.unpackSnappy(raw)
	case "zstd":
		return bs.unpackZstd(raw)
	case "gzip":
		return bs.unpackGzip(raw)
	default:
		return nil, &refusal{http.StatusUnsupportedMediaType, "encoding", fmt.Sprintf("Content-Encoding %q is not supported: use snappy, zstd, gzip or none", cutTo(enc, 40)), 0}
	}
}

// limit is how far a compressed body may unfold.
func (bs *bodies) limit(raw int) int64 {
	return min(int64(bs.cfg.MaxBody), max(1<<20, int64(raw)*int64(bs.cfg.MaxRatio)))
}

func (bs *bodies) allowed(n int64, raw int) error {
	if n > int64(bs.cfg.MaxBody) {
		return tooLarge(n, bs.cfg.MaxBody)
	}
	if n > bs.limit(raw) {
		return bs.bomb(raw)
	}
	return nil
}

func (bs *bodies) bomb(raw int) error {
	return &refusal{
		http.StatusRequestEntityTooLarge, "ratio",
		fmt.Sprintf("%d bytes unfold into more than %d: the limits are %d bytes and a ratio of %d", raw, bs.limit(raw), bs.cfg.MaxBody, bs.cfg.MaxRatio), 0,
	}
}

func (bs *bodies) unpackSnappy(raw []byte) (*body, error) {
	n, err := snappy.DecodedLen(raw)
	if err != nil {
		return nil, badData("cannot decompress snappy: %v (block format is expected)", err)
	}
	if err := bs.allowed(int64(n), len(raw)); err != nil {
		return nil, err
	}
	if err := bs.reserve(int64(n)); err != nil {
		return nil, err
	}
	b := &body{owner: bs, buf: bs.get(), reserved: int64(n)}
	if cap(*b.buf) < n {
		*b.buf = make([]byte, n)
	}
	if b.data, err = snappy.Decode((*b.buf)[:n], raw); err != nil {
		b.free()
		return nil, badData("cannot decompress snappy: %v", err)
	}
	return b, nil
}

func (bs *bodies) unpackZstd(raw []byte) (*body, error) {
	hint := 4 * int64(len(raw))
	var h zstd.Header
	if err := h.Decode(raw); err != nil {
		return nil, badData("cannot decompress zstd: %v", err)
	}
	if h.HasFCS {
		hint = int64(min(h.FrameContentSize, 1<<62))
		if err := bs.allowed(hint, len(raw)); err != nil {
			return nil, err
		}
	}
	window := int64(min(h.WindowSize, bs.window))
	if err := bs.reserve(window); err != nil {
		return nil, err
	}
	defer bs.inUse.Add(-window)
	d, ok := bs.zstds.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(bs.window), zstd.WithDecoderMaxMemory(uint64(bs.cfg.MaxBody)+1)); err != nil {
			return nil, fmt.Errorf("cannot make a zstd decoder: %w", err)
		}
	}
	defer bs.zstds.Put(d)
	if err := d.Reset(bytes.NewReader(raw)); err != nil {
		return nil, badData("cannot decompress zstd: %v", err)
	}
	return bs.stream(d, "zstd", hint, len(raw))
}

func (bs *bodies) unpackGzip(raw []byte) (*body, error) {
	g, ok := bs.gzips.Get().(*gzip.Reader)
	if !ok {
		g = new(gzip.Reader)
	}
	defer bs.gzips.Put(g)
	if err := g.Reset(bytes.NewReader(raw)); err != nil {
		return nil, badData("cannot decompress gzip: %v", err)
	}
	return bs.stream(g, "gzip", 4*int64(len(raw)), len(raw))
}

// stream unpacks from r and takes memory as it goes, at first for hint bytes.
func (bs *bodies) stream(r io.Reader, enc string, hint int64, raw int) (_ *body, err error) {
	limit := bs.limit(raw)
	b := &body{owner: bs, buf: bs.get()}
	defer func() {
		if err != nil {
			b.free()
		}
	}()
	out := (*b.buf)[:0]
	for {
		if n := int64(len(out)); n == b.reserved {
			if n > limit {
				return nil, bs.bomb(raw)
			}
			grow := min(max(n, min(hint, limit)+1), limit+1-n)
			if err := bs.reserve(grow); err != nil {
				return nil, err
			}
			b.reserved += grow
			if int64(cap(out)) < b.reserved {
				*b.buf = append(make([]byte, 0, b.reserved), out...)
				out = *b.buf
			}
		}
		m, err := r.Read(out[len(out):b.reserved])
		out = out[:len(out)+m]
		switch {
		case errors.Is(err, io.EOF):
			b.data = out
			return b, nil
		case err != nil:
			return nil, badData("cannot decompress %s: %v", enc, err)
		}
	}
}

func cutTo(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
