package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

const dirVar = "WEIR_TEST_AUDIT_DIR"

// printed is an output that shows its bodies to the process that started this one.
type printed struct{ f *os.File }

func (p printed) Append(_ context.Context, _ signal.Kind, _ int, body []byte) error {
	_, err := p.f.Write(append([]byte("BATCH "), append(body, '\n')...))
	return err
}

// TestCountingProcess is the body of the process that TestKill kills.
func TestCountingProcess(t *testing.T) {
	dir := os.Getenv(dirVar)
	if dir == "" {
		t.Skip("started by TestKill only")
	}
	c := newCounter(t, dir, printed{os.Stdout}, func(c *Config) { c.Flush = 100 * time.Millisecond })
	start(c)
	w := time.Now().Unix() / 60 * 60
	for i := uint64(1); ; i++ {
		if err := c.Add(inc("a", w, 1)); err != nil {
			t.Error(err)
		}
		pass(time.Millisecond)
	}
}

// TestKill kills a counting process with SIGKILL, several times in the same folder: what it had sent stays right,
// and the next run tells that it did not end in order.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	srv := newServer()
	before := int64(0)
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCountingProcess$")
		cmd.Env = append(os.Environ(), dirVar+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, batches := bufio.NewScanner(out), 0
		lines.Buffer(nil, maxBody)
		var last cell.Batch
		for batches < 3 && lines.Scan() {
			var body string
			if n, _ := fmt.Sscanf(lines.Text(), "BATCH %s", &body); n != 1 {
				continue
			}
			if err := json.Unmarshal([]byte(body), &last); err != nil {
				t.Fatal(err)
			}
			if err := srv.Append(t.Context(), signal.Cells, len(last.Cells), []byte(body)); err != nil {
				t.Fatal(err)
			}
			batches++
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended before it was killed")
		}
		a := last.Auditor
		if a.Previous != before || a.PreviousOpen != (before != 0) || a.Closed || a.Seq != 3 {
			t.Errorf("after the run of epoch %d: %+v", before, a)
		}
		before = a.Epoch
	}
	c := newCounter(t, dir, srv, nil)
	if err := start(c)(); err != nil {
		t.Fatal(err)
	}
	if a := srv.last(); a.Previous != before || !a.PreviousOpen || !a.Closed {
		t.Errorf("the run after the last kill says %+v", a)
	}
	c = newCounter(t, dir, srv, nil)
	if err := start(c)(); err != nil {
		t.Fatal(err)
	}
	if a := srv.last(); a.PreviousOpen || a.Previous == before || a.Previous == 0 {
		t.Errorf("the run after one that closed says %+v", a)
	}
}
