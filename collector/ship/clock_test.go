package ship

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// answerOf is what a server says whose clock is ahead by offset and that worked between came and went, in our time.
func answerOf(came, went time.Time, offset time.Duration) http.Header {
	us := func(t time.Time) string { return strconv.FormatInt(t.Add(offset).UnixMicro(), 10) }
	return http.Header{"Weir-Time": {us(came) + "," + us(went)}}
}

// Whatever the ways there and back take, the truth lies within the bound.
func TestClockIsWithinItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := func(what string, lo, hi int64) time.Duration {
			return time.Duration(rapid.Int64Range(lo, hi).Draw(t, what)) * time.Microsecond
		}
		offset := ms("offset", -1e7, 1e7)
		var c clock
		now := time.Now()
		for range rapid.IntRange(1, 20).Draw(t, "answers") {
			there, work, back := ms("there", 0, 5e5), ms("work", 0, 1e6), ms("back", 0, 5e5)
			c.observe(answerOf(now.Add(there), now.Add(there+work), offset), now, now.Add(there+work+back))
			now = now.Add(there + work + back + ms("pause", 0, 1e6))
		}
		got, bound := c.offset, c.worn(now)
		if d := (got - offset).Abs(); d > bound+2*time.Microsecond {
			t.Fatalf("offset %s ± %s, the truth is %s", got, bound, offset)
		}
	})
}

func TestClockKeepsTheBestAnswer(t *testing.T) {
	var c clock
	now := time.Now()
	c.observe(answerOf(now.Add(90*time.Millisecond), now.Add(95*time.Millisecond), 5*time.Second), now, now.Add(100*time.Millisecond))
	c.observe(answerOf(now.Add(time.Millisecond), now.Add(20*time.Millisecond), 5*time.Second), now, now.Add(21*time.Millisecond))
	c.observe(answerOf(now.Add(300*time.Millisecond), now.Add(300*time.Millisecond), 5*time.Second), now, now.Add(301*time.Millisecond))
	if (c.offset-5*time.Second).Abs() > 2*time.Millisecond || c.bound > 2*time.Millisecond {
		t.Errorf("%s ± %s", c.offset, c.bound)
	}
	// A clock that is set is followed at once.
	c.observe(answerOf(now.Add(50*time.Millisecond), now.Add(50*time.Millisecond), -time.Second), now, now.Add(100*time.Millisecond))
	if (c.offset + time.Second).Abs() > 60*time.Millisecond {
		t.Errorf("after the clock was set: %s", c.offset)
	}
	for _, bad := range []http.Header{{}, {"Weir-Time": {"x"}}, {"Weir-Time": {"5,4"}}, {"Weir-Time": {"-5,4"}}, {"Weir-Time": {"1"}}, {"Date": {"yesterday"}}} {
		before := c.offset
		c.observe(bad, now, now.Add(time.Millisecond))
		if c.offset != before {
			t.Errorf("%v changes the clock", bad)
		}
	}
	var d clock
	d.observe(http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}, now, now.Add(time.Millisecond))
	if d.at.IsZero() || d.offset.Abs() > d.bound || d.bound < 500*time.Millisecond {
		t.Errorf("from Date: %s ± %s", d.offset, d.bound)
	}
}
