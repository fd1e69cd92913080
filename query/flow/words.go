package flow

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count writes a number of records with thousands separators: 1,204,311.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return sign + b.String()
}

// scaled picks k or M and the digits of a rate so that two rates beside each other read alike.
func scaled(rate, ref float64) (text, unit string) {
	ref = math.Max(math.Abs(ref), math.Abs(rate))
	switch {
	case ref >= 999_950:
		return strconv.FormatFloat(rate/1e6, 'f', 1, 64), "M/s"
	case ref >= 999.5:
		return strconv.FormatFloat(rate/1e3, 'f', 1, 64), "k/s"
	case ref >= 10:
		return strconv.FormatFloat(rate, 'f', 0, 64), "/s"
	default:
		return strconv.FormatFloat(rate, 'f', 1, 64), "/s"
	}
}

// Rate writes records per second: 8.1 k/s, 640 /s.
func Rate(r float64) string {
	t, u := scaled(r, 0)
	return t + " " + u
}

// RateOf writes one rate as part of another in the same unit: 6.9 k/s of 8.1 k/s.
func RateOf(a, b float64) string {
	x, u := scaled(a, b)
	y, _ := scaled(b, a)
	return x + " " + u + " of " + y + " " + u
}

// Age writes seconds as people read them: 0.4 s, 38 s, 3 m 50 s, 9 h 02 m, 3 d 4 h.
func Age(s float64) string {
	switch {
	case math.IsNaN(s) || math.IsInf(s, 0):
		return "never"
	case s < 9.95:
		return strconv.FormatFloat(math.Max(s, 0), 'f', 1, 64) + " s"
	case s < 59.5:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	}
	t := whole(math.Round(s))
	switch {
	case t < 3600:
		return fmt.Sprintf("%d m %02d s", t/60, t%60)
	case t < 86400:
		return fmt.Sprintf("%d h %02d m", t/3600, t/60%60)
	default:
		return fmt.Sprintf("%d d %d h", t/86400, t/3600%24)
	}
}

// Percent writes a share: 1.00 %, 25.3 %, 81 %.
func Percent(share float64) string {
	p := share * 100
	digits := 0
	switch {
	case p < 10:
		digits = 2
	case p < 60 && p != math.Trunc(p):
		digits = 1
	}
	return strconv.FormatFloat(p, 'f', digits, 64) + " %"
}

// List joins names: 3; 3 and 7; 1, 3 and 7.
func List(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
