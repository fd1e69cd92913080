package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/collector/remotewrite"
)

var scratch string // holds the built binaries

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var (
	buildWeir      = sync.OnceValues(func() (string, error) { return build("weir", ".") })
	buildCollector = sync.OnceValues(func() (string, error) { return build("weir-collector", "../weir-collector") })
)

func build(name, pkg string) (string, error) {
	bin := filepath.Join(scratch, name)
	c := exec.CommandContext(context.Background(), "go", "build", "-o", bin, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", name, err, out)
	}
	return bin, nil
}

func binary(t *testing.T) string {
	t.Helper()
	bin, err := buildWeir()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// runs ends a command that is expected to end by itself, within ten seconds.
func runs(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin := binary(t) // built before the clock starts
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, bin, args...)
	c.Dir = t.TempDir()
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); ctx.Err() != nil || c.ProcessState == nil {
		t.Fatalf("weir %q did not end: %v\n%s", args, err, errOut.String())
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// child starts a command that is killed when the test ends; of a test that failed it shows what the command said.
func child(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, said.String())
		}
	})
	return cmd
}

// proc is a running weir.
type proc struct {
	cmd  *exec.Cmd
	url  string
	done chan struct{}

	mu  sync.Mutex
	log []string
}

// starts runs weir until the test ends and returns when it says that it is ready.
func starts(t *testing.T, dir string, args ...string) *proc {
	t.Helper()
	p := &proc{cmd: exec.Command(binary(t), args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			p.mu.Unlock()
			if _, rest, ok := strings.Cut(lines.Text(), `msg="weir is ready"`); ok {
				_, rest, _ = strings.Cut(rest, "address=")
				addr, _, _ := strings.Cut(rest, "/ ")
				ready <- addr
			}
		}
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("weir %q said:\n%s", args, p.said())
		}
	})
	select {
	case p.url = <-ready:
	case <-p.done:
		t.Fatalf("weir %q ended: %s", args, p.cmd.ProcessState)
	case <-time.After(30 * time.Second):
		t.Fatalf("weir %q is not ready after 30 s", args)
	}
	return p
}

func (p *proc) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// stop asks the process to end, as an init system does.
func (p *proc) stop(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		t.Fatal("weir still runs 15 s after SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	if said := p.said(); !strings.HasSuffix(said, "msg=stopped") {
		t.Errorf("the last word is not that it stopped")
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("stopping took %s", d)
	}
}

// eventually asks until f is true, for twenty seconds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-look.C {
		if f() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

// asks sends a request; header is name, value, name, value and so on.
func asks(t *testing.T, method, u, body string, header ...string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, u, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // redirects are answers here
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// value is what an instant query finds, -1 when nothing.
func value(t *testing.T, base, query string) float64 {
	t.Helper()
	code, text := asks(t, http.MethodGet, base+"/api/v1/query?query="+url.QueryEscape(query), "")
	if code != http.StatusOK {
		t.Fatalf("query %s: %d %s", query, code, text)
	}
	var a struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Data.Result) == 0 {
		return -1
	}
	var v float64
	if _, err := fmt.Sscan(a.Data.Result[0].Value[1].(string), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// remoteWrite is a remote write 2.0 body of one sample, with its headers.
func remoteWrite(v float64, help string, names ...string) (body string, header []string) {
	b := remotewrite.NewBatch()
	b.Add(remotewrite.NewSeries(labels.FromStrings(names...), metadata.Metadata{Type: "gauge", Help: help}), time.Now().UnixMilli(), 0, v)
	return string(snappy.Encode(nil, b.AppendTo(nil))), []string{
		"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request",
		"Content-Encoding", "snappy", "X-Prometheus-Remote-Write-Version", "2.0.0",
	}
}

// otlpSpan is an OTLP request of one span in JSON.
func otlpSpan(trace, service, name, attr string) string {
	now := time.Now().UnixNano()
	return fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[`+
		`{"traceId":%q,"spanId":"00000000000000a1","name":%q,"kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",`+
		`"attributes":[{"key":%q,"value":{"stringValue":%q}}]}]}]}]}`, service, trace, name, now-1e6, now, attr, attr)
}

// freePort is a port that nobody has for UDP and TCP. Somebody may take it before it is used, which is rare.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// writeConfig writes a configuration for a process of its own: port 0 or free ports, data below dir.
func writeConfig(t *testing.T, dir, http, statsd, grpc, otlpHTTP, more string) string {
	t.Helper()
	file := filepath.Join(dir, "weir.yaml")
	text := fmt.Sprintf("data_dir: %q\nhttp:\n  listen: %q\ncollector:\n  statsd: {udp: %q, interval: 1s}\n  otlp: {grpc: %q, http: %q}\n%s",
		filepath.Join(dir, "data"), http, statsd, grpc, otlpHTTP, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDefaultsInAnEmptyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := starts(t, dir, "server", "--listen", "127.0.0.1:0")
	for path, want := range map[string]string{"/-/ready": "", "/-/healthy": "", "/": "<html", "/api/v1/now": `"at"`} {
		if code, text := asks(t, http.MethodGet, p.url+path, ""); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.200s", path, code, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "weir-data", "store")); err != nil {
		t.Error(err)
	}
	p.stop(t)
}

// What comes in at every door is found, also after a restart.
func TestDoorsAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	statsd, otlp := freePort(t), freePort(t)
	file := writeConfig(t, dir, "127.0.0.1:0", statsd, "", otlp, "")
	p := starts(t, dir, "-c", file)
	if code, _ := asks(t, http.MethodGet, p.url+"/-/ready", ""); code != http.StatusOK {
		t.Errorf("ready answers %d", code)
	}

	udp, err := net.Dial("udp", statsd)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if _, err := io.WriteString(udp, "orders.done:3|c|#service:shop\norders.done:4|c|#service:shop"); err != nil {
		t.Fatal(err)
	}
	body, header := remoteWrite(42, "", "__name__", "written_remotely", "job", "test")
	if code, text := asks(t, http.MethodPost, p.url+"/api/v1/write", body, header...); code != http.StatusNoContent {
		t.Fatalf("remote write: %d %s", code, text)
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	eventually(t, "the collector takes OTLP", func() bool {
		code, _ := asks(t, http.MethodPost, "http://"+otlp+"/v1/traces", otlpSpan(trace, "shop", "pay", "shop.item"), "Content-Type", "application/json")
		return code == http.StatusOK
	})
	found := func(base string) {
		t.Helper()
		eventually(t, "the statsd counter", func() bool { return value(t, base, `last_over_time(orders_done{service="shop"}[1h])`) == 7 })
		eventually(t, "the span", func() bool {
			code, text := asks(t, http.MethodGet, base+"/api/v1/traces/"+trace, "")
			return code == http.StatusOK && strings.Contains(text, `"pay"`)
		})
		if v := value(t, base, `last_over_time(written_remotely{job="test"}[1h])`); v != 42 {
			t.Errorf("remote write reads %v, want 42", v)
		}
	}
	found(p.url)
	p.stop(t)

	p = starts(t, dir, "-c", file)
	found(p.url)

	// A second process leaves the first one's data alone.
	_, stderr, code := runs(t, "server", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"))
	oneSentence(t, stderr, code, "another weir process", fmt.Sprint(p.cmd.Process.Pid), "choose another folder")
	if code, _ := asks(t, http.MethodGet, p.url+"/-/ready", ""); code != http.StatusOK {
		t.Errorf("the first process answers %d after a second one tried", code)
	}
	p.stop(t)
}

// With tokens the collector in the process needs one, and delivers with it.
func TestCollectorWithToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, _, code := runs(t, "token", "collector", "--permissions", "ingest,query")
	secret, entry, ok := strings.Cut(out, "\n\nadd to the file that auth.token_file names:\n")
	secret = strings.TrimPrefix(secret, "token (shown once): ")
	if code != 0 || !ok || !strings.HasPrefix(secret, "weir_") || strings.Contains(entry, secret) {
		t.Fatalf("weir token: %d %q", code, out)
	}
	tokens, own := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "own")
	if err := errors.Join(os.WriteFile(tokens, []byte(entry), 0o600), os.WriteFile(own, []byte(secret+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("auth: {token_file: %q}\n", tokens)
	_, stderr, code := runs(t, "-c", writeConfig(t, dir, "127.0.0.1:0", "", "", "", more))
	oneSentence(t, stderr, code, "collector.server.token_file", "weir token")

	file := writeConfig(t, dir, "127.0.0.1:0", "", "", "", fmt.Sprintf("  self_interval: 1s\n  server: {token_file: %q}\n", own)+more)
	p := starts(t, dir, "-c", file)
	if code, _ := asks(t, http.MethodGet, p.url+"/api/v1/now", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d, want 401", code)
	}
	eventually(t, "the collector's own metrics", func() bool {
		code, text := asks(t, http.MethodGet, p.url+"/api/v1/query?query=weir_collector_info", "", "Authorization", "Bearer "+secret)
		return code == http.StatusOK && strings.Contains(text, "weir_collector_info")
	})
	p.stop(t)
}

// oneSentence asserts that a failed start says why in one line, and exits with 1.
func oneSentence(t *testing.T, stderr string, code int, parts ...string) {
	t.Helper()
	var words []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "time=") { // the log
			words = append(words, line)
		}
	}
	if code != 1 || len(words) != 1 || !strings.HasPrefix(words[0], "weir: ") || len(words[0]) > 600 {
		t.Errorf("exit code %d, want 1 and one line on stderr; got\n%s", code, stderr)
	}
	for _, part := range parts {
		if !strings.Contains(strings.Join(words, ""), part) {
			t.Errorf("stderr does not name %q:\n%s", part, stderr)
		}
	}
	for _, noise := range []string{"panic", "goroutine", "invalid service state", "main.", "unmarshal", "weir is ready", "level=WARN", "level=ERROR"} {
		if strings.Contains(stderr, noise) {
			t.Errorf("stderr holds %q:\n%s", noise, stderr)
		}
	}
}

// What keeps weir from starting is said in one sentence that names it and a way out.
func TestFailedStarts(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	taken, takenUDP := tcp.Addr().String(), udp.LocalAddr().String()
	const any0 = "127.0.0.1:0"
	for name, c := range map[string]struct {
		http, statsd, grpc, otlp, more string
		want                           []string
	}{
		"http port":       {http: taken, want: []string{"http.listen", taken, "choose another"}},
		"statsd port":     {http: any0, statsd: takenUDP, want: []string{"statsd.udp", takenUDP, "choose another"}},
		"otlp grpc port":  {http: any0, grpc: taken, want: []string{taken, "otlp.grpc", "choose another"}},
		"otlp http port":  {http: any0, otlp: taken, want: []string{taken, "otlp.http", "choose another"}},
		"beyond loopback": {http: "0.0.0.0:0", want: []string{"http.listen", "0.0.0.0:0", "auth.token_file", "127.0.0.1"}},
		"no token file":   {http: any0, more: "auth: {token_file: /nonexistent/tokens}\n", want: []string{"token_file"}},
		"log level":       {http: any0, more: "log: {level: loud}\n", want: []string{"log.level", "loud", "debug"}},
		"value":           {http: any0, more: "query: {timeout: -3s}\n", want: []string{"query.timeout", "-3s", "100ms"}},
		"no unit":         {http: any0, more: "query: {timeout: 3}\n", want: []string{"line 7", "10s"}},
		"collector value": {http: any0, more: "  stop_wait: -1s\n", want: []string{"collector: ", "stop_wait", "-1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := writeConfig(t, dir, c.http, c.statsd, c.grpc, c.otlp, c.more)
			_, stderr, code := runs(t, "-c", file)
			oneSentence(t, stderr, code, c.want...)
		})
	}
	t.Run("file in the way", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := runs(t, "server", "--listen", any0, "--data-dir", file)
		oneSentence(t, stderr, code, file, "choose one")
	})
	t.Run("spool in the way", func(t *testing.T) {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "data"), 0o700), os.WriteFile(filepath.Join(dir, "data", "collector"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := runs(t, "-c", writeConfig(t, dir, any0, "", "", "", ""))
		oneSentence(t, stderr, code, filepath.Join(dir, "data", "collector"))
	})
	t.Run("no file", func(t *testing.T) {
		_, stderr, code := runs(t, "-c", "/nonexistent/weir.yaml")
		oneSentence(t, stderr, code, "/nonexistent/weir.yaml")
	})
}

// A Unix socket has a short path at most; a data folder may lie deep.
func TestDeepDataFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := starts(t, dir, "-c", writeConfig(t, dir, "127.0.0.1:0", "", "", "", ""))
	p.stop(t)
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := writeConfig(t, dir, "127.0.0.1:0", "127.0.0.1:8125", "", "", "  broker:\n    kafka: [{cluster: prod, brokers: [\"b:9092\"]}]\n    redis: [{cluster: cache, addrs: [\"r:6379\"]}]\nalerts: {late_for: 3m}\n")
	out, stderr, code := runs(t, "check", good)
	for _, want := range []string{good + " is good", "UDP 127.0.0.1:8125, Unix " + filepath.Join(dir, "data", "statsd.sock") + ", every 1s", "gRPC off", "late after 3m,", "Kafka prod, Redis cache"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("check: %d, without %q:\n%s%s", code, want, out, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("check made the data folder")
	}
	// What --print shows is a file that works.
	out, _, code = runs(t, "check", "--print", good)
	again := filepath.Join(dir, "again.yaml")
	if err := os.WriteFile(again, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code2 := runs(t, "check", again); code != 0 || code2 != 0 || !strings.Contains(out, "late after 3m,") {
		t.Errorf("check of what --print shows: %d %d %s%s", code, code2, out, stderr)
	}
	for raw, want := range map[string]string{
		"collector:\n  statsd:\n    intervall: 1s\n": `line 3: unknown key "intervall", did you mean "interval"?`,
		"htpp: {}\n":                `line 1: unknown key "htpp", did you mean "http"?`,
		"collector: {sever: {}}\n":  `did you mean "server"?`,
		"http:\n\tlisten: x\n":      "line 2",
		"log: {level: loud}\n":      `log.level is "loud"`,
		"http: {listen: nowhere}\n": `"nowhere"`,
	} {
		bad := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(bad, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := runs(t, "check", bad)
		oneSentence(t, stderr, code, want)
	}
	if out, _, code := runs(t, "version"); code != 0 || !strings.HasPrefix(out, "weir "+version) {
		t.Errorf("version: %d %q", code, out)
	}
	if _, stderr, code := runs(t, "token", "bob", "--permissions", "everything"); code != 1 || !strings.Contains(stderr, "everything") {
		t.Errorf("token with an unknown permission: %d %q", code, stderr)
	}
	if _, stderr, code := runs(t, "soak", "--mode", "check", "--ledger", filepath.Join(dir, "none")); code != 1 || !strings.Contains(stderr, "none") {
		t.Errorf("soak without a ledger: %d %q", code, stderr)
	}
}

// Killed twice each while data comes in: what was acknowledged is there exactly once.
func TestSoakKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills a server and a collector")
	}
	t.Parallel()
	collector, err := buildCollector()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), "soak", "--mode", "kill", "--kills", "2", "--max-uptime", "2s", "--collector-bin", collector)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "kills: 4") {
		t.Fatalf("%v\n%s", err, out)
	}
	kinds := 0
	for line := range strings.Lines(string(out)) {
		var kind string
		var batches, acked, present, missing, doubled, wrong int
		if n, _ := fmt.Sscan(line, &kind, &batches, &acked, &present, &missing, &doubled, &wrong); n != 7 {
			continue
		}
		kinds++
		if acked == 0 || present != acked || missing+doubled+wrong != 0 {
			t.Errorf("%s", line)
		}
	}
	if kinds != 4 {
		t.Errorf("%d kinds in the table, want samples, spans, cells and a collector's spans:\n%s", kinds, out)
	}
}
