package statsd

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/weirhq/weir/internal/cell"
)

func TestAuditLines(t *testing.T) {
	h := cell.Hash("id")
	full := fmt.Sprintf("weir.audit.in:5000|c|#p:orders,st:enrich,dst:orders,g:enrich,ew:1732334400,fs:%016x,fx:%016X,mt:1732334459000,by:12345,svc:api,env:prod", h, h)
	f := func(s string, want Increment) {
		t.Helper()
		fd := newFeeder(t, nil)
		fd.feed(s)
		want.Lossy = true
		if diff := cmp.Diff([]Increment{want}, fd.sink.incs); diff != "" {
			t.Errorf("%q: -want +got\n%s", s, diff)
		}
		if n := fd.count("audit", "accepted"); n != 1 || len(fd.reg.all) != 0 {
			t.Errorf("%q: %d accepted, %d series", s, n, len(fd.reg.all))
		}
	}
	f(full, Increment{
		Key:      cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Destination: "orders", Group: "enrich", Window: 1732334400},
		Instance: "n1/statsd_udp", Service: "api", Node: "n1",
		Counts: cell.Counts{N: 5000, Bytes: 12345, FpSum: h, FpXor: h, Hashed: 5000, MaxTS: 1732334459000},
	})
	f("weir.audit.dropped:1|c|@1|#p:a,st:b,reason:too_old|c:ci-c7", Increment{
		Key:      cell.Key{Pipeline: "a", Stage: "b", Dir: cell.Dropped, Reason: "too_old"},
		Instance: "n1/c7", Node: "n1", Counts: cell.Counts{N: 1},
	})
	for _, d := range cell.Dirs() {
		f("weir.audit."+string(d)+":0|c|#p:a,st:b", Increment{Key: cell.Key{Pipeline: "a", Stage: "b", Dir: d}, Instance: "n1/statsd_udp", Node: "n1"})
	}
}

// What a datagram that is lost may have held is known from those that came.
func TestRecordsPerDatagram(t *testing.T) {
	fd := newFeeder(t, nil)
	fd.feed("weir.audit.in:7|c|#p:a,st:b\nweir.audit.out:6|c|#p:a,st:b\nx:1|c")
	fd.feed("weir.audit.in:9|c|#p:a,st:b")
	if fd.sink.carried != 13 {
		t.Errorf("the largest datagram stood for %d records, want 13", fd.sink.carried)
	}
}

func TestBadAuditLines(t *testing.T) {
	f := func(s, why string) {
		t.Helper()
		fd := newFeeder(t, nil)
		fd.feed(s)
		if len(fd.sink.incs) != 0 || fd.count("audit", why) != 1 || fd.balance("audit") != 1 {
			t.Errorf("%q was not dropped as %s: %+v", s, why, fd.sink.incs)
		}
		if fd.sink.drops != 1 {
			t.Errorf("%q: %d drops told", s, fd.sink.drops)
		}
	}
	f("weir.audit.in", "bad_line")
	f("weir.audit.in:1|g|#p:a,st:b", "bad_type")
	f("weir.audit.in:1|c|@0.5|#p:a,st:b", "bad_rate")
	f("weir.audit.in:-1|c|#p:a,st:b", "bad_value")
	f("weir.audit.in:1.5|c|#p:a,st:b", "bad_value")
	f("weir.audit.in:1:2|c|#p:a,st:b", "bad_value")
	f("weir.audit.sideways:1|c|#p:a,st:b", "bad_audit")
	f("weir.audit.:1|c|#p:a,st:b", "bad_audit")
	f("weir.audit.in:1|c", "bad_audit")
	f("weir.audit.in:1|c|#p:a", "bad_audit")
	f("weir.audit.in:1|c|#st:a", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,ew:0", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,ew:-60", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,ew:yesterday", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,fs:0000000000000001", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,fs:1,fx:1", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,fs:000000000000000g,fx:0000000000000001", "bad_audit")
	f("weir.audit.out:1|c|#p:a,st:b,g:c", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,reason:c", "bad_audit")
	f("weir.audit.in:1|c|#p:a,st:b,by:-1", "bad_audit")
}

// Ids, latencies and client losses; what is wrong with them costs nothing else.
func TestAuditSamples(t *testing.T) {
	fd := newFeeder(t, nil)
	const tags = "#p:orders,st:enrich,dst:orders,g:enrich,ew:1732334400"
	key := cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Destination: "orders", Group: "enrich", Window: 1732334400}
	inc := func(n uint64, ids *cell.IDs) Increment {
		return Increment{Key: key, Instance: "n1/statsd_udp", Node: "n1", Counts: cell.Counts{N: n}, Lossy: true, IDs: ids}
	}
	var sample cell.IDs
	sample.Of = 0
	if err := sample.ParseTag([]byte("0000000000000080+0000000000000100*2"), 128, 5); err != nil {
		t.Fatal(err)
	}
	fd.feed("weir.audit.in:5|c|"+tags+",ids:0000000000000080+0000000000000100*2,im:128", "weir.audit.in:7|c|"+tags+",ids:")
	empty := &cell.IDs{M: 64, Of: 7}
	if d := cmp.Diff([]Increment{inc(5, &sample), inc(7, empty)}, fd.sink.incs); d != "" {
		t.Error(d)
	}
	fd.sink.incs = nil
	for _, bad := range []string{",ids:zz", ",ids:0000000000000001", ",ids:0000000000000040,im:65", ",ids:,im:x", ",ids:0000000000000080,im:0"} {
		fd.feed("weir.audit.in:3|c|" + tags + bad)
		if d := cmp.Diff([]Increment{inc(3, nil)}, fd.sink.incs); d != "" {
			t.Errorf("%s: the count must stand: %s", bad, d)
		}
		fd.sink.incs = nil
	}
	if n := fd.r.auditDoor.badIDs.Get(); n != 5 || fd.sink.drops != 0 {
		t.Errorf("%d bad samples counted, %d drops told", n, fd.sink.drops)
	}
	late := func(dir cell.Dir, weight uint64, vs ...float64) Increment {
		i := inc(0, nil)
		i.Key.Dir, i.Values, i.Weight = dir, vs, weight
		if dir == cell.Out {
			i.Key.Group = ""
		}
		return i
	}
	fd.feed("weir.audit.latency:12:15:-3.5|d|@0.25|"+tags, "weir.audit.latency:1:NaN:1e300:x:-1e299|ms|#p:orders,st:enrich,dst:orders,ew:1732334400,dir:out")
	if d := cmp.Diff([]Increment{late(cell.In, 4, 12, 15, -3.5), late(cell.Out, 1, 1)}, fd.sink.incs); d != "" {
		t.Error(d)
	}
	fd.sink.incs = nil
	fd.feed("weir.audit.latency:NaN:inf|d|"+tags, "weir.audit.latency:1|c|"+tags, "weir.audit.latency:1|d|"+tags+",dir:dropped", "weir.audit.latency:1|d|#p:x")
	if len(fd.sink.incs) != 0 || fd.sink.drops != 0 || fd.r.auditDoor.badLatency.Get() != 6 || fd.count("audit", "bad_value") != 1 || fd.count("audit", "bad_type") != 1 || fd.count("audit", "bad_audit") != 2 {
		t.Errorf("bad latencies: %+v, %d drops, %d refused", fd.sink.incs, fd.sink.drops, fd.r.auditDoor.badLatency.Get())
	}
	fd.feed("weir.audit.lost:40|c|#p:orders,st:enrich,ew:1732334400")
	if fd.sink.lost != 40 || fd.sink.lostAt != 1732334400 || len(fd.sink.incs) != 0 {
		t.Errorf("lost %d at %d", fd.sink.lost, fd.sink.lostAt)
	}
}

// A sender says that it lives, what it may hold, and that it stops; what cannot be understood is told.
func TestSendersSayThatTheyLive(t *testing.T) {
	fd := newFeeder(t, nil)
	const tags = "#p:orders,st:enrich,run:00ff,ev:500"
	fd.feed("weir.audit.run:64|g|"+tags+",svc:enricher|c:ci-c1", "weir.audit.run:128|g|"+tags+",raise:1,pod:x", "weir.audit.run:64|g|"+tags+",end:1")
	life := Life{Pipeline: "orders", Stage: "enrich", Instance: "n1/statsd_udp", Node: "n1", ID: "00ff", Most: 64, Every: 500 * time.Millisecond}
	first, raised, end := life, life, life
	first.Instance, first.Service = "n1/c1", "enricher"
	raised.Most, raised.Raise = 128, true
	end.End = true
	if d := cmp.Diff([]Life{first, raised, end}, fd.sink.told); d != "" {
		t.Error(d)
	}
	fd.sink.told = nil
	fd.feed("weir.audit.run:1|c|"+tags, "weir.audit.run:-1|g|"+tags, "weir.audit.run:1|g|#p:orders,st:enrich,ev:500", "weir.audit.run:1|g|#p:orders,st:enrich,run:a,ev:0", "weir.audit.run:1|g|#p:orders,st:enrich,run:a")
	if len(fd.sink.told) != 0 || len(fd.sink.incs) != 0 || fd.sink.drops != 0 || fd.count("audit", "bad_type") != 1 || fd.count("audit", "bad_value") != 1 || fd.count("audit", "bad_audit") != 3 {
		t.Errorf("bad words: %+v, %d drops", fd.sink.told, fd.sink.drops)
	}
}

// A client that sends counts and says that it dropped datagrams casts doubt on the counts; another client does not.
func TestClientTelemetryOfCountingClients(t *testing.T) {
	fd := newFeeder(t, nil)
	fd.feed("datadog.dogstatsd.client.packets_dropped:9|c|#client:go")
	if fd.sink.drops != 0 {
		t.Errorf("a client that counts nothing told of %d", fd.sink.drops)
	}
	fd.feed("weir.audit.in:1|c|#p:a,st:b",
		"datadog.dogstatsd.client.packets_dropped:3|c|#client:go", "datadog.dogstatsd.client.packets_dropped_queue:3|c",
		"datadog.dogstatsd.client.metric_dropped_on_receive:4|c", "datadog.dogstatsd.client.packets_sent:100|c", "datadog.dogstatsd.client.packets_dropped:x|c")
	if fd.sink.drops != 7 || fd.r.auditDoor.clients.Get() != 7 {
		t.Errorf("%d drops told, want 7", fd.sink.drops)
	}
	if fd.count("statsd_udp", "accepted") != 5 {
		t.Error("the client's own series are still series")
	}
}

func FuzzAuditLine(f *testing.F) {
	f.Add("weir.audit.in:5|c|#p:orders,st:enrich,ids:0000000000000080*2=a%20b,im:128")
	f.Add("weir.audit.latency:12:15:18|d|@0.5|#p:orders,st:enrich,ew:60,dir:out")
	f.Add("weir.audit.lost:1|c|#p:a,st:b,ew:60")
	f.Add("weir.audit.run:64|g|#p:a,st:b,run:0f,ev:500,raise:1")
	f.Fuzz(func(t *testing.T, s string) {
		fd := newFeeder(t, nil)
		fd.feed("weir.audit." + s)
		for _, inc := range fd.sink.incs {
			for _, v := range inc.Values {
				if math.IsNaN(v) || math.Abs(v) > cell.MaxLatency {
					t.Fatalf("%q gives latency %g", s, v)
				}
			}
			if inc.IDs != nil && inc.IDs.Of != inc.Counts.N {
				t.Fatalf("%q: a sample of %d of %d", s, inc.IDs.Of, inc.Counts.N)
			}
		}
	})
}

type badTimestamp struct{}

func (badTimestamp) Error() string      { return "bad event time" }
func (badTimestamp) BadTimestamp() bool { return true }

func TestRefusedAuditIncrements(t *testing.T) {
	fd := newFeeder(t, nil)
	fd.sink.err = fmt.Errorf("cannot count: %w", badTimestamp{})
	fd.feed("weir.audit.in:1|c|#p:a,st:b")
	fd.sink.err = errors.New("full")
	fd.feed("weir.audit.in:1|c|#p:a,st:b")
	if fd.count("audit", "bad_ts") != 1 || fd.count("audit", "cell_limit") != 1 || fd.balance("audit") != 2 {
		t.Error("refused increments are not counted by their reasons")
	}
	if fd.sink.drops != 0 {
		t.Error("the sink counts what it refuses itself")
	}
}
