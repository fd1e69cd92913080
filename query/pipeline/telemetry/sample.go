package telemetry

import (
	"strconv"
	"strings"
)

// parseSample reads one line of the text form: name{a="b"} value.
func parseSample(line string) (name string, ls map[string]string, v float64, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", nil, 0, false
	}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", nil, 0, false
	}
	v, err := strconv.ParseFloat(line[i+1:], 64)
	if err != nil {
		return "", nil, 0, false
	}
	head := line[:i]
	name, rest, labelled := strings.Cut(head, "{")
	ls = map[string]string{}
	if !labelled {
		return name, ls, v, true
	}
	rest = strings.TrimSuffix(rest, "}")
	for rest != "" {
		key, after, found := strings.Cut(rest, "=")
		if !found {
			return "", nil, 0, false
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return "", nil, 0, false
		}
		val, err := strconv.Unquote(quoted)
		if err != nil {
			return "", nil, 0, false
		}
		ls[key] = val
		rest = strings.TrimPrefix(after[len(quoted):], ",")
	}
	return name, ls, v, true
}
