package messaging

import (
	"math"
	"testing"
)

func TestRoles(t *testing.T) {
	for _, c := range []struct {
		kind             uint8
		opType, op, name string
		want             Role
	}{
		{4, "send", "", "", Send},
		{3, "publish", "", "", Send}, // a client that sends what was created before
		{4, "create", "", "", Create},
		{3, "receive", "", "poll", Receive},
		{5, "process", "", "", Process},
		{5, "", "deliver", "", Process},
		{3, "settle", "", "ack", Settle},
		{3, "", "", "ack", Settle},
		{4, "", "", "", Send},
		{5, "", "", "", Process},
		{3, "", "", "", None},
		{4, "something new", "", "", Send},
	} {
		if got := RoleOf(c.kind, c.opType, c.op, c.name); got != c.want {
			t.Errorf("RoleOf(%d, %q, %q, %q) = %d, want %d", c.kind, c.opType, c.op, c.name, got, c.want)
		}
	}
}

func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		state string
		ok    bool
		n     float64
	}{
		{"", false, 0},
		{"ot=th:0", true, 1},
		{"ot=th:8", true, 2},
		{"vendor=x, ot=rv:123;th:e6666666666668", true, 10},
		{"ot=th:", false, 0},
		{"ot=th:zz", false, 0},
		{"ot=th:fffffffffffffff", false, 0}, // too long
		{"xot=th:0", false, 0},
	} {
		th, ok := Threshold(c.state)
		if ok != c.ok || ok && math.Abs(Adjusted(th)-c.n) > 1e-9*c.n {
			t.Errorf("%q: %x %v, stands for %g; want %v %g", c.state, th, ok, Adjusted(th), c.ok, c.n)
		}
	}
	trace := [16]byte{8: 0xff, 9: 1, 15: 2}
	if got := Randomness("", trace); got != 0x01000000000002 {
		t.Errorf("randomness of the trace id: %x", got)
	}
	if got := Randomness("ot=rv:00000000000010", trace); got != 0x10 {
		t.Errorf("explicit randomness: %x", got)
	}
}

func TestWeight(t *testing.T) {
	if Weight(5, 3) != 5 || Weight(0, 3) != 3 || Weight(0, 0) != 1 || Weight(-1, 0) != 1 || Weight(1<<40, 2) != 2 {
		t.Error("weights")
	}
}

func FuzzTracestate(f *testing.F) {
	f.Add("ot=th:8;rv:00000000000010,x=y")
	f.Fuzz(func(t *testing.T, s string) {
		if th, ok := Threshold(s); ok {
			if a := Adjusted(th); !(a >= 1) || th >= 1<<randomBits {
				t.Errorf("%q: threshold %x stands for %g", s, th, a)
			}
		}
		if r := Randomness(s, [16]byte{}); s == "" && r != 0 {
			t.Error(r)
		}
	})
}
