package scrape

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/collector/signal"
)

// answer is what a target serves.
type answer struct {
	mu          sync.Mutex
	body        string
	contentType string
	status      int
	gzip        bool
	hang        bool
	requests    []*http.Request
}

func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	body, ct, status, zip, hang := a.body, a.contentType, a.status, a.gzip, a.hang
	a.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return
	}
	if ct == "" {
		ct = "text/plain; version=0.0.4"
	}
	w.Header().Set("Content-Type", ct)
	if zip {
		w.Header().Set("Content-Encoding", "gzip")
		zw := gzip.NewWriter(w)
		_, _ = zw.Write([]byte(body))
		_ = zw.Close()
		return
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	w.Write([]byte(body))
}

func (a *answer) set(f func(a *answer)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

// memory keeps what is appended, as text: name{labels} value, with @time and ^start where not the scrape's.
type memory struct {
	mu    sync.Mutex
	t     *testing.T
	polls [][]string
	meta  map[string]string
	fail  error
	seen  chan struct{}
}

func (m *memory) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil || k != signal.Samples {
		m.t.Errorf("cannot decode appended body of kind %v: %v", k, err)
		return nil
	}
	var got []string
	n := 0
	for _, ts := range req.Timeseries {
		var name string
		var ls []string
		for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
			k, v := req.Symbols[ts.LabelsRefs[i]], req.Symbols[ts.LabelsRefs[i+1]]
			switch k {
			case "__name__":
				name = v
			case "job", "instance", "node":
			default:
				ls = append(ls, k+"="+v)
			}
		}
		m.meta[name] = fmt.Sprintf("%v %s", ts.Metadata.Type, req.Symbols[ts.Metadata.HelpRef])
		for _, s := range ts.Samples {
			n++
			v := fmt.Sprint(s.Value)
			if value.IsStaleNaN(s.Value) {
				v = "stale"
			}
			text := name + "{" + strings.Join(ls, ",") + "} " + v
			if s.Timestamp != scrapeTime {
				text += fmt.Sprint(" @", s.Timestamp)
			}
			if s.StartTimestamp != 0 {
				text += fmt.Sprint(" ^", s.StartTimestamp)
			}
			if !strings.HasPrefix(name, "scrape_") {
				got = append(got, text)
			}
		}
		for _, x := range ts.Exemplars {
			got = append(got, fmt.Sprintf("%s{%s} exemplar %v @%d", name, strings.Join(ls, ","), x.Value, x.Timestamp))
		}
	}
	if n != items {
		m.t.Errorf("items = %d, body holds %d", items, n)
	}
	m.polls = append(m.polls, got)
	select {
	case m.seen <- struct{}{}:
	default:
	}
	return nil
}

const scrapeTime = 1_700_000_000_000

type rig struct {
	t   *testing.T
	a   *answer
	s   *Scraper
	out *memory
	set *metrics.Set
}

func newRig(t *testing.T, change func(*Config, *TargetConfig)) *rig {
	t.Helper()
	r := &rig{t: t, a: &answer{}, out: &memory{t: t, meta: map[string]string{}, seen: make(chan struct{}, 1)}, set: metrics.NewSet()}
	srv := httptest.NewServer(r.a)
	t.Cleanup(srv.Close)
	cfg := DefaultConfig()
	tc := TargetConfig{Job: "app", Addresses: []string{strings.TrimPrefix(srv.URL, "http://")}}
	if change != nil {
		change(&cfg, &tc)
	}
	cfg.Targets = []TargetConfig{tc}
	s, err := New(cfg, "n1", r.out, r.set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	t.Cleanup(func() {
		for _, t := range s.targets {
			t.client.CloseIdleConnections()
		}
	})
	return r
}

// scrape serves body and returns what came out, but for scrape_….
func (r *rig) scrape(body string) []string {
	r.t.Helper()
	r.a.set(func(a *answer) { a.body = body })
	before := len(r.out.polls)
	// The scheduled time is the test's; "late" does not arise because the schedule lies in the future of no clock.
	t := r.s.targets[0]
	buf := new(buffers)
	scraped, kept, err := r.s.pull(r.t.Context(), t, scrapeTime, buf)
	if err != nil {
		buf.points = buf.points[:0]
		buf.found.reset()
		t.cache.round++
		t.endMissing(0, scrapeTime, buf)
	} else {
		t.cache.forget()
	}
	t.report(scrapeTime, time.Second, scraped, kept, err == nil, buf)
	r.s.enc.add(r.t.Context(), buf.points, &buf.found, scrapeTime)
	r.s.enc.flush(r.t.Context())
	var got []string
	for _, p := range r.out.polls[before:] {
		got = append(got, p...)
	}
	if err != nil {
		got = append(got, "error: "+err.Error())
	}
	r.equation()
	return got
}

func (r *rig) equation() {
	r.t.Helper()
	n := func(name string) int { return int(r.set.GetOrCreateCounter(name).Get()) }
	received, accepted := n(`weir_collector_received_total{door="scrape"}`), n(`weir_collector_accepted_total{door="scrape"}`)
	dropped := 0
	for _, reason := range []string{"spool", "relabel", "duplicate", "limit"} {
		dropped += n(`weir_collector_dropped_total{door="scrape",reason="` + reason + `"}`)
	}
	if received != accepted+dropped {
		r.t.Errorf("received %d != accepted %d + dropped %d", received, accepted, dropped)
	}
}

func (r *rig) want(got []string, want ...string) {
	r.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStaleness(t *testing.T) {
	r := newRig(t, nil)
	r.want(r.scrape("a 1\nb{x=\"1\"} 2\n"), "a{} 1", "b{x=1} 2", "up{} 1")
	r.want(r.scrape("a 3\n"), "a{} 3", "b{x=1} stale", "up{} 1")
	r.want(r.scrape("a 4\n"), "a{} 4", "up{} 1") // told once
	r.want(r.scrape("b{x=\"1\"} 5\na 4\n"), "b{x=1} 5", "a{} 4", "up{} 1")
	r.a.set(func(a *answer) { a.status = 500 })
	got := r.scrape("")
	if len(got) != 4 || !strings.Contains(strings.Join(got[:2], " "), "a{} stale") || !strings.Contains(strings.Join(got[:2], " "), "b{x=1} stale") || got[2] != "up{} 0" || !strings.Contains(got[3], "500") {
		t.Errorf("target down: %q", got)
	}
	if got := r.scrape(""); len(got) != 2 || got[0] != "up{} 0" {
		t.Errorf("still down: %q", got)
	}
	r.a.set(func(a *answer) { a.status = 0 })
	r.want(r.scrape("a 6\nb{x=\"1\"} 5\n"), "a{} 6", "b{x=1} 5", "up{} 1")
}

func TestBadAnswerEndsAllSeries(t *testing.T) {
	r := newRig(t, nil)
	r.scrape("a 1\n")
	got := r.scrape("a 2\nb oops\n")
	if len(got) != 3 || got[0] != "a{} stale" || got[1] != "up{} 0" || !strings.Contains(got[2], "oops") {
		t.Errorf("got %q, want a stale, up 0 and an error that quotes the line", got)
	}
}

func TestTargetTimes(t *testing.T) {
	r := newRig(t, nil)
	r.want(r.scrape("a 1 1234\nb 2\n"), "a{} 1 @1234", "b{} 2", "up{} 1")
	r.want(r.scrape("b 2\n"), "b{} 2", "up{} 1") // who gives times tells its own end
	r = newRig(t, func(_ *Config, c *TargetConfig) { c.IgnoreTimestamps = true })
	r.want(r.scrape("a 1 1234\n"), "a{} 1", "up{} 1")
	r.want(r.scrape("b 2\n"), "b{} 2", "a{} stale", "up{} 1")
}

func TestLabelsAndRelabelling(t *testing.T) {
	var tc TargetConfig
	if err := yaml.Unmarshal([]byte(`
labels: {env: prod}
service: shop
container: c1
metric_relabel:
- {source_labels: [__name__], regex: "go_.*", action: drop}
- {regex: secret, action: labeldrop}
- {source_labels: [path], regex: "/(\\w+)/.*", target_label: page, replacement: "$1"}
`), &tc); err != nil {
		t.Fatal(err)
	}
	for _, honor := range []bool{false, true} {
		r := newRig(t, func(_ *Config, c *TargetConfig) {
			c.Labels, c.Service, c.Container, c.MetricRelabel, c.HonorLabels = tc.Labels, tc.Service, tc.Container, tc.MetricRelabel, honor
		})
		body := "go_x 1\na{service=\"own\",secret=\"s\",path=\"/home/x\"} 2\n"
		want := "a{container=c1,env=prod,exported_service=own,page=home,path=/home/x,service=shop} 2"
		if honor {
			want = "a{container=c1,env=prod,page=home,path=/home/x,service=own} 2"
		}
		for range 2 {
			r.want(r.scrape(body), want, "up{container=c1,env=prod,service=shop} 1")
		}
		if n := r.s.m.droppedRelabel.Get(); n != 2 {
			t.Errorf("%d samples dropped by relabelling, want 2", n)
		}
	}
}

func TestTargetRelabelling(t *testing.T) {
	var tc TargetConfig
	if err := yaml.Unmarshal([]byte(`
job: x
addresses: ["keep:1", "drop:1"]
relabel:
- {source_labels: [__address__], regex: "drop:.*", action: drop}
- {target_label: __metrics_path__, replacement: /other}
- {target_label: __param_module, replacement: m}
`), &tc); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Targets = []TargetConfig{tc}
	s, err := New(cfg, "n1", nil, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Targets()
	if len(got) != 1 || got[0].URL != "http://keep:1/other?module=m" || got[0].Labels.String() != `{instance="keep:1", job="x", node="n1"}` {
		t.Errorf("targets = %+v", got)
	}
}

func TestDuplicatesCountOnce(t *testing.T) {
	r := newRig(t, nil)
	for range 2 {
		r.want(r.scrape("a 1\na 2\na{} 3\n"), "a{} 1", "up{} 1")
	}
	if n := r.s.m.droppedDouble.Get(); n != 4 {
		t.Errorf("%d duplicates, want 4", n)
	}
}

func TestMetadataStartTimesAndExemplars(t *testing.T) {
	r := newRig(t, nil)
	r.a.set(func(a *answer) { a.contentType = "application/openmetrics-text; version=1.0.0; charset=utf-8" })
	for range 2 {
		r.want(r.scrape("# TYPE req counter\n# HELP req Requests.\nreq_total{a=\"1\"} 17 # {trace_id=\"abc\"} 0.5 1520879607.789\nreq_total{a=\"2\"} 3\nreq_created{a=\"1\"} 1520872607.123\n# EOF\n"),
			"req_total{a=1} 17 ^1520872607123", "req_total{a=2} 3", "up{} 1", "req_total{a=1} exemplar 0.5 @1520879607789")
	}
	// The process has begun anew: the very first answer says so.
	r.want(r.scrape("# TYPE req counter\n# HELP req Requests.\nreq_total{a=\"1\"} 1\nreq_total{a=\"2\"} 3\nreq_created{a=\"1\"} 1520873607.123\n# EOF\n"),
		"req_total{a=1} 1 ^1520873607123", "req_total{a=2} 3", "up{} 1")
	if got := r.out.meta["req_total"]; got != "METRIC_TYPE_COUNTER Requests." {
		t.Errorf("metadata = %q", got)
	}
	r.scrape("# TYPE req counter\n# HELP req Other words.\nreq_total{a=\"1\"} 1\n# EOF\n")
	if got := r.out.meta["req_total"]; got != "METRIC_TYPE_COUNTER Other words." {
		t.Errorf("metadata = %q after it changed", got)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(_ *Config, c *TargetConfig) { c.SampleLimit = 2 })
	if got := r.scrape("a 1\nb 2\nc 3\n"); len(got) != 2 || got[0] != "up{} 0" || !strings.Contains(got[1], "sample_limit 2") {
		t.Errorf("sample limit: %q", got)
	}
	r.want(r.scrape("a 1\nb 2\n"), "a{} 1", "b{} 2", "up{} 1")

	r = newRig(t, func(c *Config, _ *TargetConfig) { c.LabelLimit = 5 })
	if got := r.scrape("a{b=\"1\",c=\"2\"} 1\n"); len(got) != 2 || !strings.Contains(got[1], "label_limit 5") {
		t.Errorf("label limit: %q", got)
	}

	r = newRig(t, func(_ *Config, c *TargetConfig) { c.BodySizeLimit, c.Compression = 1000, CompressionOn })
	r.a.set(func(a *answer) { a.gzip = true })
	if got := r.scrape("a 1\n" + strings.Repeat("# bomb\n", 1<<20)); len(got) != 2 || !strings.Contains(got[1], "body_size_limit 1000") {
		t.Errorf("bomb: %q", got)
	}
	r.want(r.scrape("a 1\n"), "a{} 1", "up{} 1")
}

func TestRequest(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(_ *Config, c *TargetConfig) { c.BearerTokenFile = token })
	r.scrape("a 1\n")
	h := r.a.requests[0].Header
	for name, want := range map[string]string{
		"Authorization": "Bearer s3cret", "Accept": accept, "Accept-Encoding": "identity", "X-Prometheus-Scrape-Timeout-Seconds": "10",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	if r.a.requests[0].URL.Path != "/metrics" {
		t.Errorf("path %q", r.a.requests[0].URL.Path)
	}
	r.a.set(func(a *answer) { a.contentType = "text/html" })
	if got := r.scrape("<html>"); len(got) != 3 || !strings.Contains(got[2], `"text/html"`) {
		t.Errorf("a web page: %q", got)
	}
}

func TestSpoolRefuses(t *testing.T) {
	r := newRig(t, nil)
	r.out.fail = errors.New("disk full")
	if got := r.scrape("a 1\n"); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	r.equation()
	if n := r.s.m.droppedSpool.Get(); n != 5 {
		t.Errorf("%d dropped, want 5", n)
	}
}

func TestLargeAnswerIsSplit(t *testing.T) {
	r := newRig(t, nil)
	var b bytes.Buffer
	for i := range 30_000 {
		fmt.Fprintf(&b, "m{i=\"%d\"} %d\n", i, i)
	}
	if got := r.scrape(b.String()); len(got) != 30_001 || len(r.out.polls) < 2 {
		t.Errorf("%d samples in %d bodies", len(got), len(r.out.polls))
	}
}

func TestLinesAreForgotten(t *testing.T) {
	r := newRig(t, nil)
	for round := range 20 {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "m{i=\"%d-%d\"} 1\n", round, i)
		}
		r.scrape(b.String())
	}
	c := r.s.targets[0].cache
	if len(c.entries) > 400 || len(c.series) > 400 || r.s.targets[0].live != 100 {
		t.Errorf("%d lines and %d series kept, %d live, for an answer of 100", len(c.entries), len(c.series), r.s.targets[0].live)
	}
}

func TestRunTellsHangingTarget(t *testing.T) {
	r := newRig(t, func(c *Config, tc *TargetConfig) {
		tc.Interval, tc.Timeout = time.Second, 100*time.Millisecond
	})
	r.a.set(func(a *answer) { a.hang = true })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.s.Run(ctx) }()
	select {
	case <-r.out.seen:
	case <-time.After(5 * time.Second):
		t.Fatal("no scrape")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := r.out.polls[0]; len(got) != 1 || !strings.HasPrefix(got[0], "up{} 0") {
		t.Errorf("got %q", got)
	}
	if st := r.s.Targets()[0]; st.Up || !strings.Contains(st.Error, "deadline") {
		t.Errorf("status = %+v", st)
	}
}

func TestSchedule(t *testing.T) {
	const interval = 15 * time.Second
	off := offset("x", interval)
	now := time.Unix(1_700_000_000, 123)
	for range 100 {
		next := nextTime(now, interval, off)
		if d := next.Sub(now); d <= 0 || d > interval {
			t.Fatalf("next is %s away", d)
		}
		if (next.UnixNano()-int64(off))%int64(interval) != 0 {
			t.Fatalf("%v is not on the schedule", next)
		}
		now = next.Add(time.Duration(next.UnixNano()) % interval / 3)
	}
	at := time.UnixMilli(1_700_000_000_000)
	if got := timestamp(at, at.Add(5*time.Millisecond), interval); got != at.UnixMilli() {
		t.Errorf("a little late: %d", got)
	}
	if got := timestamp(at, at.Add(2*time.Second), interval); got != at.UnixMilli()+2000 {
		t.Errorf("2 s late: %d", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Config, *TargetConfig)
		want   string
	}{
		{func(_ *Config, c *TargetConfig) { c.Job = "" }, "job is empty"},
		{func(_ *Config, c *TargetConfig) { c.Addresses = nil }, "neither urls nor addresses"},
		{func(_ *Config, c *TargetConfig) { c.URLs = []string{"ftp://x"} }, `"ftp://x"`},
		{func(_ *Config, c *TargetConfig) { c.URLs = []string{"http://u:hunter2@x"} }, "carries a secret"},
		{func(_ *Config, c *TargetConfig) { c.Addresses = []string{"http://x/y"} }, `"http://x/y"`},
		{func(_ *Config, c *TargetConfig) { c.Interval = time.Millisecond }, "interval 1ms"},
		{func(_ *Config, c *TargetConfig) { c.Interval, c.Timeout = time.Second, time.Minute }, "timeout 1m0s"},
		{func(_ *Config, c *TargetConfig) { c.Compression = "zip" }, `compression "zip"`},
		{func(c *Config, _ *TargetConfig) { c.SampleLimit = 0 }, "sample_limit 0"},
		{func(c *Config, tc *TargetConfig) { c.MaxTargets, tc.Addresses = 1, []string{"a:1", "b:1"} }, "max_targets 1"},
	} {
		cfg := DefaultConfig()
		tc := TargetConfig{Job: "x", Addresses: []string{"a:1"}}
		c.change(&cfg, &tc)
		cfg.Targets = []TargetConfig{tc}
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error("the error shows the password")
		}
	}
}
