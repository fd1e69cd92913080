package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Two collectors know the same Kafka cluster: one polls it. When that one is killed, the other goes on.
func TestOneCollectorPollsABroker(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	bin, err := buildCollector()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := starts(t, dir, "-c", writeConfig(t, dir, "127.0.0.1:0", "", "", "", ""))
	nodes := map[string]*exec.Cmd{}
	for _, node := range []string{"a", "b"} {
		file := filepath.Join(dir, node+".yaml")
		text := fmt.Sprintf("node: %s\ndata_dir: %q\nstatsd: {udp: \"\"}\notlp: {grpc: \"\", http: \"\"}\nhost: {node: false, containers: false}\nserver: {url: %q}\n"+
			"broker:\n  kafka:\n  - {brokers: [%q], cluster: c1, interval: 1s, lease_ttl: 2s}\n", node, filepath.Join(dir, node), p.url, c.ListenAddrs()[0])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes[node] = child(t, exec.Command(bin, "-listen", "", "-config", file))
	}
	owner := func(node string) float64 {
		return value(t, p.url, fmt.Sprintf("weir_broker_owner{system=\"kafka\",cluster=\"c1\",node=%q}", node))
	}
	holder, other := "a", "b"
	eventually(t, "one polls, the other does not", func() bool {
		if owner("b") == 1 {
			holder, other = "b", "a"
		}
		return owner(holder) == 1 && owner(other) == 0 && value(t, p.url, `count(weir_broker_end_offset{destination="orders"})`) == 2
	})
	if n := value(t, p.url, fmt.Sprintf("count(weir_broker_end_offset{node=%q})", other)); n > 0 {
		t.Errorf("%s has %v series of ends although %s polls", other, n, holder)
	}
	if err := nodes[holder].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other takes over", func() bool {
		return owner(other) == 1 && value(t, p.url, fmt.Sprintf("count(weir_broker_end_offset{node=%q})", other)) == 2
	})
	if n := value(t, p.url, `sum(max_over_time(weir_broker_lease_requests_total{answer="failed"}[1m]))`); n > 0 {
		t.Errorf("%v questions for the lease were not answered", n)
	}
}
