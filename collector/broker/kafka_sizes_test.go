package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func sizes(poll []sample) map[string]float64 {
	m := map[string]float64{}
	for _, s := range poll {
		if s.name == "weir_broker_bytes" && !s.stale() {
			m[s.labels["destination"]+"/"+s.labels["partition"]] = s.v
		}
	}
	return m
}

// The bytes kept of a partition are those of its leader, once, however many copies there are.
func TestKafkaSizes(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("orders", 2, map[string]string{"retention.bytes": "100000"})
	b.produce("orders", 0, 0, 100)
	first := sizes(b.poll())
	if len(first) != 2 || first["orders/0"] < 100 || first["orders/1"] != 0 {
		t.Fatalf("%v", first)
	}
	var asked int
	deny := false
	b.c.ControlKey(int16(kmsg.DescribeLogDirs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		asked++
		if !deny {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse) //nolint:forcetypeassert // its key says so
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil, true
	})
	b.produce("orders", 0, 100, 100)
	if got := sizes(b.poll()); asked != 0 || got["orders/0"] != first["orders/0"] {
		t.Errorf("asked %d times within half a minute, sizes %v", asked, got)
	}
	k := b.loop.sys.(*kafkaSystem) //nolint:forcetypeassert // it is Kafka's
	k.sized = k.sized.Add(-kafkaSizesAge)
	if got := sizes(b.poll()); asked != 3 || got["orders/0"] < 1.9*first["orders/0"] {
		t.Errorf("asked %d times, sizes %v after %v", asked, got, first)
	}
	// What we may not see has no value, and is no error of the poll.
	deny = true
	k.sized = k.sized.Add(-kafkaSizesAge)
	poll := b.poll()
	if got := sizes(poll); len(got) != 0 || up(poll) != 1 || b.skipped("denied") != 3 {
		t.Errorf("sizes %v, up %v, %d denied", got, up(poll), b.skipped("denied"))
	}
}
