package scrape

import (
	"math"
	"strconv"
	"unsafe"

	"github.com/prometheus/prometheus/model/value"
)

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// parseNumber reads a number that begins at b[0] and returns how many bytes it took; 0 = not a plain number, which
// says nothing but that the careful parser must look. The result is the one strconv.ParseFloat gives.
func parseNumber(b []byte) (v float64, n int) {
	i := 0
	neg := false
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		neg = b[i] == '-'
		i++
	}
	var mantissa uint64
	digits, scale, dot := 0, 0, false
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c-'0' <= 9:
			mantissa = mantissa*10 + uint64(c-'0') // wraps with many digits; then strconv reads it again
			if digits++; dot {
				scale++
			}
			continue
		case c == '.' && !dot:
			dot = true
			continue
		}
		break
	}
	if digits == 0 {
		return parseWord(b)
	}
	if i < len(b) && (b[i]|0x20) == 'e' {
		i++
		if i < len(b) && (b[i] == '-' || b[i] == '+') {
			i++
		}
		start := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == start {
			return 0, 0
		}
		return parseSlow(b[:i])
	}
	// Up to 15 digits fit a float64 exactly, and one exact division rounds once: as good as strconv.
	if digits > 15 {
		return parseSlow(b[:i])
	}
	v = float64(mantissa)
	if scale > 0 {
		v /= pow10[scale]
	}
	if neg {
		v = -v
	}
	return v, i
}

func parseSlow(b []byte) (v float64, n int) {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64) // not kept
	if err != nil {
		return 0, 0
	}
	return v, len(b)
}

// parseWord reads NaN and the infinities in their usual spelling.
func parseWord(b []byte) (v float64, n int) {
	switch {
	case len(b) >= 3 && string(b[:3]) == "NaN":
		return math.Float64frombits(value.NormalNaN), 3
	case len(b) >= 4 && string(b[:4]) == "+Inf":
		return math.Inf(1), 4
	case len(b) >= 4 && string(b[:4]) == "-Inf":
		return math.Inf(-1), 4
	}
	return 0, 0
}

// parseMillis reads a timestamp of the text format: digits, Unix milliseconds.
func parseMillis(b []byte) (t int64, n int) {
	for n < len(b) && n < 18 && b[n]-'0' <= 9 {
		t = t*10 + int64(b[n]-'0')
		n++
	}
	return t, n
}
