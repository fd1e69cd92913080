package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// restartable is a NATS server that can be stopped, given an older copy of its data, and started again at the same address.
type restartable struct {
	t    *testing.T
	dir  string
	port int
	srv  *server.Server
}

func newRestartable(t *testing.T) *restartable {
	t.Helper()
	_, port, err := net.SplitHostPort(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	n := &restartable{t: t, dir: t.TempDir(), port: p}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *restartable) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

func (n *restartable) start() {
	n.t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n.port, JetStream: true, StoreDir: filepath.Join(n.dir, "data"), NoSigs: true})
	if err != nil {
		n.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		n.t.Fatal("the broker does not start")
	}
	n.srv = srv
}

func (n *restartable) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// keep copies the data of a stopped server.
func (n *restartable) keep() {
	n.t.Helper()
	if err := os.CopyFS(filepath.Join(n.dir, "kept"), os.DirFS(filepath.Join(n.dir, "data"))); err != nil {
		n.t.Fatal(err)
	}
}

// restore puts the copy back.
func (n *restartable) restore() {
	n.t.Helper()
	data := filepath.Join(n.dir, "data")
	if err := os.RemoveAll(data); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(n.dir, "kept"), data); err != nil {
		n.t.Fatal(err)
	}
}

// fluentBit shows the counters of a Fluent Bit with one input and one output.
type fluentBit struct {
	addr string

	mu                   sync.Mutex
	began                time.Time
	took                 time.Duration
	in, out, toIn, toOut float64 // at the begin, and what comes until the end
}

func newFluentBit(t *testing.T) *fluentBit {
	t.Helper()
	f := &fluentBit{took: time.Second}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		in, out := f.counts()
		_, _ = fmt.Fprintf(w, `# TYPE fluentbit_input_records_total counter
fluentbit_input_records_total{name="tail.0"} %.0f
# TYPE fluentbit_output_proc_records_total counter
fluentbit_output_proc_records_total{name="http.0"} %.0f
# TYPE fluentbit_output_dropped_records_total counter
fluentbit_output_dropped_records_total{name="http.0"} 0
# TYPE fluentbit_input_storage_chunks gauge
fluentbit_input_storage_chunks{name="tail.0"} 0
`, in, out)
	}))
	t.Cleanup(srv.Close)
	f.addr = strings.TrimPrefix(srv.URL, "http://")
	return f
}

func (f *fluentBit) counts() (in, out float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	part := min(1, float64(time.Since(f.began))/float64(f.took))
	return float64(int(f.in + part*f.toIn)), float64(int(f.out + part*f.toOut))
}

// flows lets so many more records come and go, evenly.
func (f *fluentBit) flows(d time.Duration, in, out float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in, f.out = f.in+f.toIn, f.out+f.toOut
	f.began, f.took, f.toIn, f.toOut = time.Now(), d, in, out
}
