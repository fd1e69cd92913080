package statsd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const socketVar = "WEIR_TEST_SOCKET"

// TestSenderProcess is the body of the process that TestAnotherProcess starts.
func TestSenderProcess(t *testing.T) {
	path := os.Getenv(socketVar)
	if path == "" {
		t.Skip("started by TestAnotherProcess only")
	}
	send(t, "unixgram", path, "a:5|c\nweir.audit.out:2|c|#p:p,st:s")
}

// TestAnotherProcess checks that the kernel names the sender, not the reader: each process gets its own series.
func TestAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	known := origins{map[int32]Tags{int32(os.Getpid()): {Node: "n1", Service: "me"}}}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSenderProcess$")
	cmd.Env = append(os.Environ(), socketVar+"="+path)
	r := newRig(t, known, func(c *Config) { c.Unix = path })
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, "unixgram", path, "a:1|c")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	known.pid[int32(cmd.Process.Pid)] = Tags{Node: "n1", Service: "other"}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	send(t, "unixgram", path, "a:1|c")
	r.start()() // all of it in one batch, from two processes in turns
	r.want(`{__name__="a", node="n1", service="me"}`, 2)
	r.want(`{__name__="a", node="n1", service="other"}`, 5)
	if len(r.sink.incs) != 1 || r.sink.incs[0].Service != "other" {
		t.Errorf("audit %+v", r.sink.incs)
	}
}
