package statsd

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

func TestIdentity(t *testing.T) {
	f := func(s string, from Tags, want string) {
		t.Helper()
		var l line
		if why := l.parse([]byte(s)); why != taken {
			t.Fatalf("%q: %s", s, why)
		}
		ls, _, ok := identity(&l, from, origins{})
		got := ""
		if ok {
			got = ls.String()
		}
		if got != want {
			t.Errorf("%q from %+v:\n got %s\nwant %s", s, from, got, want)
		}
	}
	udp := Tags{Node: "n1"}
	known := Tags{Node: "n1", Service: "orders", Container: "c1"}
	guess := Tags{Node: "n1", Service: "java", Container: "c1", Guess: true}
	f("a.b-c:1|c", udp, `{__name__="a_b_c", node="n1"}`)
	f("9a:1|c", udp, `{__name__="_9a", node="n1"}`)
	f("é:1|c", udp, `{__name__="__", node="n1"}`)
	f("a:1|c|#x.y:1,flag,empty:,,9:z", udp, `{_9="z", __name__="a", flag="true", node="n1", x_y="1"}`)
	f("a:1|c|#url:http://x:80/", udp, `{__name__="a", node="n1", url="http://x:80/"}`)
	f("a:1|c|#k:b,k:a,k:b", udp, `{__name__="a", k="a,b", node="n1"}`)
	f("a:1|c|#__name__:evil,__x:1", udp, `{__name__="a", node="n1", tag__name__="evil", tag__x="1"}`)
	f("a:1|c|#v:\xff", udp, "{__name__=\"a\", node=\"n1\", v=\"\uFFFD\"}")
	f("a:1|c|#host:h,service:s,container_name:cn", udp, `{__name__="a", container="cn", host="h", node="n1", service="s"}`)
	f("a:1|c|#container_id:ci,container_name:cn", udp, `{__name__="a", container="ci", container_name="cn", node="n1"}`)
	f("a:1|c|#container:c9|c:ci-f1", udp, `{__name__="a", container="f1", exported_container="c9", node="n1"}`)
	f("a:1|c|#node:n1,service:orders", known, `{__name__="a", container="c1", node="n1", service="orders"}`)
	f("a:1|c|#node:n2,service:x,container:y|c:z", known, `{__name__="a", container="c1", exported_container="y", exported_node="n2", exported_service="x", node="n1", service="orders"}`)
	f("a:1|c|#service:x", guess, `{__name__="a", container="c1", node="n1", service="x"}`)
	f("a:1|c", guess, `{__name__="a", container="c1", node="n1", service="java"}`)
	f("a|b:1|c", udp, "")
	f(strings.Repeat("n", 201)+":1|c", udp, "")
	f("a:1|c|#k:"+strings.Repeat("v", 2049), udp, "")
	f("a:1|c|#"+strings.Repeat("k,", 10), udp, `{__name__="a", k="true", node="n1"}`)
	many := ""
	for i := range 30 {
		many += "," + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
	}
	f("a:1|c|#"+many, udp, "")
}

// FuzzDatagram feeds anything: nothing panics, the books balance, and what is kept can be sent.
func FuzzDatagram(f *testing.F) {
	for _, s := range []string{
		"a:1|c", "a.b:1.5:2:x|ms|@0.5|#env:prod,service:x|c:ci-1|e:it-true|T1700000000\nb:+1|g", "u:x|s", "_e{1,1}:a|b", "_sc|a|0|#b",
		"weir.audit.in:5000|c|#p:orders,st:enrich,dst:orders,g:enrich,ew:1732334400,fs:00000000000000ff,fx:00000000000000ff",
		"a:1e308|h\na:1e308|h\na:-5|h", "\n\n:|\n|:", "a:1|c|#\xff:\xfe,,__x:1,service:,node:z",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t, origins{}, func(c *Config) { c.MaxSeries, c.MaxSetMembers = 50, 10 })
		rd := r.newReader("statsd_udp")
		from := r.reg.sender("statsd_udp", Tags{Node: "n1"})
		for tick := range int64(2) {
			rd.now = 1_700_000_000_000_000_000
			rd.datagram(b, from)
			rd.report()
			r.flush(t.Context(), 1_700_000_000_000+tick*10000)
		}
		r.balance("statsd_udp")
		r.balance("audit")
		if r.failures.Get() > 0 {
			t.Error("the output could not read what was sent")
		}
		for _, s := range r.reg.all {
			s.rw.Labels().Range(func(l labels.Label) {
				if l.Value == "" || !utf8.ValidString(l.Value) || !utf8.ValidString(l.Name) {
					t.Errorf("label %q=%q", l.Name, l.Value)
				}
			})
		}
	})
}
