package ingest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/weirhq/weir/store"
)

// request2 makes n samples at t, of which the first bad ones have no metric name.
func request2(tb testing.TB, n, bad int, at int64) []byte {
	tb.Helper()
	st := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for i := range n {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i), "node", "n1")
		if i < bad {
			ls = labels.FromStrings("i", fmt.Sprint(i))
		}
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: st.SymbolizeLabels(ls, nil), Samples: []writev2.Sample{{Value: float64(i), Timestamp: at}}})
	}
	req.Symbols = st.Symbols()
	b, err := req.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func zstdOf(tb testing.TB, b []byte) []byte {
	tb.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return e.EncodeAll(b, nil)
}

func TestWriteV2(t *testing.T) {
	r := newRig(t)
	body := request2(t, 10, 0, 1000)
	w := r.write2(body)
	if w.Code != 204 || w.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "10" || w.Header().Get("X-Prometheus-Remote-Write-Histograms-Written") != "0" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	w = r.post("/api/v1/write", zstdOf(t, request2(t, 10, 0, 2000)), "Content-Type", typeV2, "Content-Encoding", "zstd")
	if w.Code != 204 {
		t.Fatalf("zstd: %d %s", w.Code, w.Body)
	}
	if n := r.e.sampleCount(); n != 20 {
		t.Errorf("%d samples in the store", n)
	}
	if r.e.samples[`default{__name__="m", i="3", node="n1"}`][2000] != 3 {
		t.Errorf("wrong content: %v", r.e.samples)
	}
	r.books("remote_write")
}

func TestWriteV1(t *testing.T) {
	r := newRig(t)
	b, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}, Samples: []prompb.Sample{{Value: 1, Timestamp: 5}}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, ct := range []string{"application/x-protobuf", "", "application/x-protobuf;proto=prometheus.WriteRequest"} {
		w := r.post("/api/v1/write", snappy.Encode(nil, b), "Content-Type", ct)
		if w.Code != 204 || w.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "" {
			t.Errorf("%q: %d %s", ct, w.Code, w.Body)
		}
	}
	if r.e.samples[`default{__name__="m"}`][5] != 1 {
		t.Errorf("wrong content: %v", r.e.samples)
	}
}

func TestWritePartial(t *testing.T) {
	r := newRig(t)
	r.e.rejectT = 7
	w := r.write2(request2(t, 10, 3, 5))
	if w.Code != 400 || w.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "7" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, want := range []string{"7 samples", "3 because of bad_labels", "__name__ is missing"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not in %s", want, w.Body)
		}
	}
	if w := r.write2(request2(t, 4, 0, 7)); w.Code != 400 || !strings.Contains(w.Body.String(), "too_old") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if rec, st, dr := r.books("remote_write"); rec != 14 || st != 7 || dr != 7 {
		t.Errorf("received %d stored %d dropped %d", rec, st, dr)
	}
}

func TestWriteRefusals(t *testing.T) {
	good := request2(t, 2, 0, 5)
	bomb := make([]byte, 4<<20)
	for name, c := range map[string]struct {
		body []byte
		hdr  []string
		code int
		want string
	}{
		"content type":  {snappy.Encode(nil, good), []string{"Content-Type", "text/plain"}, 415, "remote write 2.0"},
		"other proto":   {snappy.Encode(nil, good), []string{"Content-Type", "application/x-protobuf;proto=x"}, 415, "not supported"},
		"encoding":      {good, []string{"Content-Type", typeV2, "Content-Encoding", "br"}, 415, "snappy, zstd, gzip"},
		"not snappy":    {[]byte("hello hello"), []string{"Content-Type", typeV2}, 400, "snappy"},
		"cut off":       {snappy.Encode(nil, good[:len(good)-3]), []string{"Content-Type", typeV2}, 400, "byte "},
		"header lies":   {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, []string{"Content-Type", typeV2}, 413, "limit"},
		"snappy ratio":  {snappy.Encode(nil, bomb)[:9000], []string{"Content-Type", typeV2}, 413, "ratio"},
		"zstd bomb":     {zstdOf(t, bomb), []string{"Content-Type", typeV2, "Content-Encoding", "zstd"}, 413, "ratio"},
		"zstd cut":      {zstdOf(t, good)[:20], []string{"Content-Type", typeV2, "Content-Encoding", "zstd"}, 400, "zstd"},
		"gzip bomb":     {gzipOf(t, bomb), []string{"Content-Type", typeV2, "Content-Encoding", "gzip"}, 413, "ratio"},
		"1.0 as 2.0":    {snappy.Encode(nil, mustV1(t)), []string{"Content-Type", typeV2}, 400, "1.0 body"},
		"zstd no magic": {[]byte("nonsense"), []string{"Content-Type", typeV2, "Content-Encoding", "zstd"}, 400, "zstd"},
	} {
		r := newRig(t)
		w := r.post("/api/v1/write", c.body, c.hdr...)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", name, w.Code, w.Body, c.code, c.want)
		}
		if r.e.appends != 0 {
			t.Errorf("%s: something was stored", name)
		}
		r.books("remote_write")
	}
}

func mustV1(t *testing.T) []byte {
	t.Helper()
	b, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gzipOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out strings.Builder
	g := gzip.NewWriter(&out)
	if _, err := g.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}

func TestStoreErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		code  int
		retry bool
	}{
		{fmt.Errorf("disk full: %w", store.ErrUnavailable), 503, true},
		{fmt.Errorf("too many series: %w", store.ErrLimit), 429, true},
		{fmt.Errorf("no: %w", store.ErrInvalid), 400, false},
		{io.ErrClosedPipe, 500, true},
	} {
		r := newRig(t)
		r.e.fail = c.err
		w := r.write2(request2(t, 3, 0, 5), "Weir-Spool", "s", "Weir-Sequence", "1")
		if w.Code != c.code || (w.Header().Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: %d %v", c.err, w.Code, w.Header())
		}
		if _, _, dropped := r.books("remote_write"); dropped != 3 {
			t.Errorf("%v: dropped %d", c.err, dropped)
		}
		if n := len(r.in.Collectors()); (n == 0) != c.retry {
			t.Errorf("%v: sequence number noted for %d collectors", c.err, n)
		}
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SamplesPerSecond = 10 })
	if w := r.write2(request2(t, 100, 0, 5)); w.Code != 204 {
		t.Fatalf("first burst: %d", w.Code)
	}
	w := r.write2(request2(t, 5, 0, 6))
	if w.Code != 429 || w.Header().Get("Retry-After") != "8" {
		t.Fatalf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	r.books("remote_write")
}

func TestOverload(t *testing.T) {
	r := newRig(t)
	r.in.bodies.inUse.Store(r.in.cfg.MaxInFlight)
	req := httptest.NewRequest(http.MethodPost, "/api/v1/write", strings.NewReader("x"))
	req.Host = "localhost"
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if n := r.in.bodies.inUse.Load(); n != r.in.cfg.MaxInFlight {
		t.Errorf("%d bytes reserved after a refusal", n)
	}
}

// TestSlowClient sends half a body and waits: the server must give up after ReadTimeout.
func TestSlowClient(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ReadTimeout = 200 * time.Millisecond })
	srv := httptest.NewServer(r.h)
	defer srv.Close()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("the server did not hang up: %v", err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("answer %q", answer)
	}
}

// TestWriteBooks is the equation of the door under random good and bad input.
func TestWriteBooks(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	want := 0
	for i := range 300 {
		n := rnd.IntN(20)
		bad := 0
		if n > 0 {
			bad = rnd.IntN(n)
		}
		body := request2(t, n, bad, int64(i)+1)
		r.e.rejectT, r.e.fail = 0, nil
		switch rnd.IntN(5) {
		case 0:
			if len(body) > 0 {
				body[rnd.IntN(len(body))] ^= 1 << rnd.IntN(8)
			}
		case 1:
			r.e.fail = store.ErrUnavailable
		case 2:
			r.e.rejectT = int64(i) + 1
		default:
			want += n - bad
		}
		r.write2(body)
	}
	received, stored, dropped := r.books("remote_write")
	if got := r.e.sampleCount(); got < want || stored < want || dropped == 0 || received == 0 {
		t.Errorf("received %d stored %d dropped %d; %d in the store, at least %d expected", received, stored, dropped, got, want)
	}
}

func FuzzWrite(f *testing.F) {
	f.Add(snappy.Encode(nil, request2(f, 3, 1, 5)), uint8(0))
	f.Add(zstdOf(f, request2(f, 3, 1, 5)), uint8(1))
	f.Add([]byte{0x1f, 0x8b, 8}, uint8(2))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, enc uint8) {
		r := newRig(t)
		w := r.post("/api/v1/write", b, "Content-Type", typeV2, "Content-Encoding", []string{"snappy", "zstd", "gzip", "identity"}[enc%4])
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		r.books("remote_write")
	})
}
