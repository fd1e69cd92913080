package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Applications that are killed while they count lose their last counts and no record: weir says of those windows that it does
// not know, never that something was lost or came twice. After that it is exact again.
func TestKilledApplicationsLoseNothing(t *testing.T) {
	t.Parallel()
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	if !broker.ReadyForConnections(20 * time.Second) {
		t.Fatal("the broker does not start")
	}
	app, err := build("example-nats", "../../deploy/examples/nats")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	udp := freePort(t)
	p := starts(t, dir, "-c", writeConfig(t, dir, "127.0.0.1:0", udp, "", "", fmt.Sprintf(
		"  host: {node: false, containers: false}\n  audit: {width: 5s, flush: 1s}\n  broker:\n    nats:\n    - {url: %q, cluster: c1, interval: 1s}\n"+
			"pipelines: {grace: 5s, interval: 1s, settle: 1s}\n", broker.ClientURL())))
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(app, append([]string{"-broker", broker.ClientURL()}, args...)...)
		cmd.Env = append(os.Environ(), "WEIR_STATSD=udp://"+udp, "WEIR_WINDOW=5s")
		cmd.Dir = filepath.Dir(app)
		return child(t, cmd)
	}
	kill := func(cmd *exec.Cmd) {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	verdicts := func(state string) float64 {
		return max(0, value(t, p.url, fmt.Sprintf(`sum(weir_pipeline_verdicts_total{pipeline="orders",state=%q})`, state)))
	}
	run("-produce")
	consumer := run()
	eventually(t, "a window is there", func() bool { return verdicts("OK")+verdicts("UNKNOWN") >= 1 })
	eventually(t, "windows are settled", func() bool { return verdicts("OK") >= 2 })
	for i := range 3 {
		<-time.After(time.Duration(1100+370*i) * time.Millisecond)
		kill(consumer)
		consumer = run()
	}
	producer := run("-produce") // a second one
	<-time.After(1730 * time.Millisecond)
	kill(producer)
	killed := time.Now()
	eventually(t, "the ends are noticed", func() bool { return value(t, p.url, "weir_audit_senders_ended_silently_total") >= 4 })
	// What was handed out and not acknowledged comes again after 30 s; then everything can be settled, grace and flush later.
	before := verdicts("OK")
	deadline := time.Now().Add(110 * time.Second)
	for time.Since(killed) < 50*time.Second || verdicts("UNKNOWN") == 0 || verdicts("OK") < before+8 {
		if time.Now().After(deadline) {
			_, page := asks(t, http.MethodGet, p.url+"/api/v1/pipelines/orders", "")
			t.Fatalf("OK %g, then %g, UNKNOWN %g: %s", before, verdicts("OK"), verdicts("UNKNOWN"), page)
		}
		for _, state := range []string{"LOSS", "MIXED", "DUPLICATES", "SKIPPED", "RETENTION_LOSS", "PROBABLE_LOSS"} {
			if n := verdicts(state); n > 0 {
				_, page := asks(t, http.MethodGet, p.url+"/api/v1/pipelines/orders", "")
				t.Fatalf("%g windows are %s, and nothing was lost: %s", n, state, page)
			}
		}
		<-time.After(500 * time.Millisecond)
	}
}
