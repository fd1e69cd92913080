package rules

import "testing"

// The label that told the cluster is known, so that "cluster" weighs more than "job".
func TestClusterLabel(t *testing.T) {
	set, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ label, want string }{{"cluster", "cluster"}, {"kafka_cluster", "kafka_cluster"}, {"job", "job"}, {"pod", ""}} {
		ls := map[string]string{"topic": "orders", "partition": "0", c.label: "x"}
		m, ok, _ := set.Match("kafka_topic_partition_current_offset", func(l string) string { return ls[l] })
		if !ok || m.ClusterLabel != c.want {
			t.Errorf("%s: %v, told by %q", c.label, ok, m.ClusterLabel)
		}
	}
}
