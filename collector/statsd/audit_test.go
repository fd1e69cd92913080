package statsd

import (
	"errors"
	"fmt"
	"testing"

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
