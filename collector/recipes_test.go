package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/collector/audit"
	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/collector/origin"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/collector/statsd"
	"github.com/weirhq/weir/internal/cell"
)

// auditRig is the part of a collector that counts: a statsd listener and a counter, whose cells lie in memory.
type auditRig struct {
	mu    sync.Mutex
	cells map[string]cell.Cell
	udp   string
	unix  string
	stop  func()
	set   *metrics.Set
}

func (r *auditRig) Append(_ context.Context, k signal.Kind, _ int, body []byte) error {
	if k != signal.Cells {
		return nil
	}
	var b cell.Batch
	if err := json.Unmarshal(body, &b); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range b.Cells {
		r.cells[fmt.Sprint(c.Key, c.Instance, c.Epoch)] = c
	}
	return nil
}

func newAuditRig(t *testing.T) *auditRig {
	t.Helper()
	r := &auditRig{cells: map[string]cell.Cell{}, set: metrics.NewSet()}
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	acfg := audit.DefaultConfig()
	acfg.Flush = 100 * time.Millisecond
	counter := audit.New(acfg, dir, "n1", r, log, r.set)
	scfg := statsd.DefaultConfig()
	scfg.UDP, scfg.Unix = "127.0.0.1:0", filepath.Join(dir, "s.sock")
	l := statsd.New(scfg, origin.New(origin.DefaultConfig(), r.set), counter, r, log, r.set)
	if err := l.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.udp, r.unix = l.UDPAddr().String(), scfg.Unix
	receive, stopReceive := context.WithCancel(context.Background())
	count, stopCount := context.WithCancel(context.Background())
	var receiving, counting sync.WaitGroup
	receiving.Go(func() {
		if err := l.Run(receive); err != nil {
			t.Error(err)
		}
	})
	counting.Go(func() {
		if err := counter.Run(count); err != nil {
			t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		stopReceive()
		receiving.Wait()
		stopCount()
		counting.Wait()
	})
	t.Cleanup(r.stop)
	return r
}

// total stops the collector and sums what it counted, per key, without who counted it.
func (r *auditRig) total() map[cell.Key]cell.Cell {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[cell.Key]cell.Cell{}
	for _, c := range r.cells {
		if c.Dir == cell.Unflushed { // a busy machine: somebody was silent for a moment
			continue
		}
		t := out[c.Key]
		t.Key = c.Key
		t.Add(c.Counts)
		t.LateMax = 0
		if c.IDs != nil {
			if t.IDs == nil {
				t.IDs = &cell.IDs{}
			}
			t.IDs.Merge(c.IDs)
		}
		if c.Latency != nil {
			if t.Latency == nil {
				t.Latency = &cell.Sketch{}
			}
			t.Latency.Merge(c.Latency)
		}
		out[c.Key] = t
	}
	return out
}

// wait until so many records were counted in and out.
func (r *auditRig) wait(t *testing.T, n uint64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		r.mu.Lock()
		got := uint64(0)
		for _, c := range r.cells {
			if c.Dir != cell.Unflushed {
				got += c.N
			}
		}
		r.mu.Unlock()
		if got == n {
			return
		}
	}
	t.Errorf("fewer than %d records were counted in time", n)
}

const recipeRecords = 4000

// recipeID has what must be escaped: it is what ids of applications look like at their worst.
func recipeID(i int) string { return fmt.Sprintf("ö/%d:a|b,c", i) }

// counted by the Go client: what every recipe must come to.
func countedInGo(t *testing.T, base int64) map[cell.Key]cell.Cell {
	t.Helper()
	r := newAuditRig(t)
	c, err := client.New(client.Config{Addr: "unix://" + r.unix, Pipeline: "orders", Stage: "enrich", Flush: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	stop := c.Start(t.Context())
	for i := range recipeRecords {
		rec := client.Record{ID: recipeID(i), Time: time.UnixMilli(base + int64(i)*20)}
		c.In("orders", "enrich", rec)
		if i%100 == 0 {
			c.Dropped("too old", rec)
		} else {
			c.Out("enriched", rec)
		}
	}
	stop()
	r.wait(t, 2*recipeRecords)
	return r.total()
}

func TestRecipesCountLikeGo(t *testing.T) {
	text, err := os.ReadFile("../docs/recipes/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	base := time.Now().Add(-10 * time.Minute).UnixMilli()
	want := countedInGo(t, base)
	if len(want) < 6 {
		t.Fatalf("%d cells counted in Go", len(want))
	}
	for _, l := range []struct {
		name, fence, command, file string
		program                    func(recipe, udp, unix string) string
	}{
		{"Python over UDP", "python", "python3", "recipe.py", pythonDriver(false)},
		{"Python over the Unix socket", "python", "python3", "recipe.py", pythonDriver(true)},
		{"Node", "js", "node", "recipe.js", nodeDriver},
		{"Java", "java", "java", "Recipe.java", javaDriver},
	} {
		t.Run(l.name, func(t *testing.T) {
			bin, err := exec.LookPath(l.command)
			if err != nil {
				t.Skipf("NOT TESTED: the recipe for %s, because %s is not installed here", l.name, l.command)
			}
			m := regexp.MustCompile("(?s)```" + l.fence + "\n(.*?)```").FindSubmatch(text)
			if m == nil {
				t.Fatalf("docs/recipes/clients.md holds no %s", l.fence)
			}
			r := newAuditRig(t)
			file := filepath.Join(t.TempDir(), l.file)
			program := strings.NewReplacer("BASE", fmt.Sprint(base), "RECORDS", fmt.Sprint(recipeRecords)).Replace(l.program(string(m[1]), r.udp, r.unix))
			if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, bin, file).CombinedOutput()
			if err != nil && strings.Contains(string(out), "source level") {
				t.Skipf("NOT TESTED: the recipe for %s, because this %s is too old: %s", l.name, l.command, out)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			r.wait(t, 2*recipeRecords)
			if n := r.set.GetOrCreateCounter(`weir_collector_dropped_total{door="audit",reason="bad_audit"}`).Get(); n != 0 {
				t.Errorf("%d lines were not understood", n)
			}
			got := r.total()
			if len(got) != len(want) {
				t.Errorf("%d cells, Go has %d", len(got), len(want))
			}
			for k, w := range want {
				g := got[k]
				if d := cmp.Diff(w.Counts, g.Counts); d != "" {
					t.Errorf("%v: -Go +%s\n%s", k, l.name, d)
				}
				if w.IDs == nil || g.IDs == nil || w.IDs.Of != w.N || !cmp.Equal(w.IDs.IDs, g.IDs.IDs) || w.IDs.M != g.IDs.M || w.IDs.Of != g.IDs.Of {
					t.Errorf("%v: ids differ: %s", k, cmp.Diff(w.IDs, g.IDs))
				}
				if (w.Latency == nil) != (g.Latency == nil) {
					t.Errorf("%v: latency %v, Go has %v", k, g.Latency, w.Latency)
				} else if w.Latency != nil {
					// A little is left over where each latency stands for several records.
					if n := float64(g.Latency.Count) / float64(g.N); n < 0.95 || n > 1.05 || g.Latency.Min < w.Latency.Min-1000 || g.Latency.Max > w.Latency.Max+120_000 {
						t.Errorf("%v: %d latencies of %d records, %g to %g ms; in Go %g to %g", k, g.Latency.Count, g.N, g.Latency.Min, g.Latency.Max, w.Latency.Min, w.Latency.Max)
					}
				}
			}
			texts := 0
			for _, c := range got {
				texts += len(c.IDs.Texts)
			}
			if texts == 0 {
				t.Error("no id came as text")
			}
			if n := r.set.GetOrCreateCounter(`weir_statsd_audit_samples_dropped_total{kind="ids"}`).Get(); n != 0 {
				t.Errorf("%d id samples were refused", n)
			}
		})
	}
}

func pythonDriver(unix bool) func(recipe, udp, path string) string {
	return func(recipe, udp, path string) string {
		addr := "udp://" + udp
		if unix {
			addr = "unix://" + path
		}
		return recipe + `
audit = Audit("orders", "enrich", "` + addr + `")
for i in range(RECORDS):
    id, ts = f"ö/{i}:a|b,c", BASE + i * 20
    audit.count("in", id, ts, dst="orders", group="enrich")
    if i % 100 == 0:
        audit.count("dropped", id, ts, reason="too old")
    else:
        audit.count("out", id, ts, dst="enriched")
    if i % 500 == 499:
        audit.flush()
audit.close()
`
	}
}

func nodeDriver(recipe, udp, _ string) string {
	return recipe + `
async function main() {
  const audit = new Audit('orders', 'enrich', 'udp://` + udp + `')
  for (let i = 0; i < RECORDS; i++) {
    const id = 'ö/' + i + ':a|b,c'
    const ts = BASE + i * 20
    audit.count('in', id, ts, { dst: 'orders', group: 'enrich' })
    if (i % 100 === 0) audit.count('dropped', id, ts, { reason: 'too old' })
    else audit.count('out', id, ts, { dst: 'enriched' })
    if (i % 500 === 499) await audit.flush()
  }
  await audit.close()
}
main()
`
}

// javaDriver puts the driver before the recipe's class: java runs the first class of a file.
func javaDriver(recipe, udp, _ string) string {
	var imports, rest strings.Builder
	for line := range strings.Lines(recipe) {
		if strings.HasPrefix(line, "import ") {
			imports.WriteString(line)
		} else {
			rest.WriteString(line)
		}
	}
	host, port, _ := strings.Cut(udp, ":")
	return imports.String() + `
class Recipe {
    public static void main(String[] args) throws Exception {
        var audit = new Audit("orders", "enrich", "` + host + `", ` + port + `, 60);
        for (int i = 0; i < RECORDS; i++) {
            String id = "\u00f6/" + i + ":a|b,c";
            long ts = BASEL + i * 20;
            audit.count("in", id, ts, "orders", "enrich", "");
            if (i % 100 == 0) audit.count("dropped", id, ts, "", "", "too old");
            else audit.count("out", id, ts, "enriched", "", "");
            if (i % 500 == 499) audit.flush();
        }
        audit.close();
    }
}
` + rest.String()
}

// A recipe outlives a collector that is away, and says afterwards what it could not send.
func TestRecipesOutliveTheCollector(t *testing.T) {
	bin, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("NOT TESTED: the recipe for Python, because python3 is not installed here")
	}
	text, err := os.ReadFile("../docs/recipes/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/recipes/clients.md holds no python")
	}
	r := newAuditRig(t)
	program := string(m[1]) + `
audit = Audit("orders", "enrich", "unix://` + r.unix + `")
there, audit.sock = audit.sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # connected to nobody
for i in range(30):
    audit.count("in", f"o-{i}", int(time.time() * 1000), dst="orders", group="enrich")
audit.flush()
audit.sock = there
audit.flush()
`
	if out, err := exec.CommandContext(t.Context(), bin, "-c", program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	drops := func() float64 {
		var b strings.Builder
		r.set.WritePrometheus(&b)
		var v float64
		for line := range strings.Lines(b.String()) {
			if s, ok := strings.CutPrefix(line, "weir_audit_known_drops "); ok {
				_, _ = fmt.Sscan(s, &v)
			}
		}
		return v
	}
	for end := time.Now().Add(20 * time.Second); drops() != 30 && time.Now().Before(end); <-time.After(20 * time.Millisecond) {
	}
	if n := drops(); n != 30 {
		t.Errorf("the collector knows of %g lost counts, want 30", n)
	}
}
