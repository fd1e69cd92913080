package statsd

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// What the server takes at most.
const (
	maxName   = 200
	maxValue  = 2048
	maxLabels = 30
)

// identity turns what a line and its sender say into labels. Node, service and container come from the
// transport where it knows them; else from the container field, else from the tags service, container,
// container_id and container_name. A tag that contradicts the transport is kept as exported_<tag>.
func identity(l *line, from Tags, origins Origins) (labels.Labels, Tags, bool) {
	name := metricName(string(l.name))
	if name == "" || len(name) > maxName {
		return labels.EmptyLabels(), from, false
	}
	t := from
	if t.Container == "" && len(l.container) > 0 {
		c := origins.ByContainerField(string(l.container))
		t.Container = valid(c.Container)
		if t.Service == "" || t.Guess && !c.Guess && c.Service != "" {
			t.Service, t.Guess = c.Service, c.Guess
		}
	}
	tags := map[string]string{}
	for tag := range strings.SplitSeq(string(l.tags), ",") {
		if tag == "" {
			continue
		}
		k, v, ok := strings.Cut(tag, ":")
		if !ok {
			v = "true" // a tag without a value is a flag
		}
		k, v = labelName(k), valid(v)
		if k == "" || v == "" {
			continue
		}
		if old, ok := tags[k]; ok && old != v {
			v = joined(old, v)
		}
		tags[k] = v
	}
	if v := tags["service"]; v != "" {
		if t.Service == "" || t.Guess {
			t.Service, t.Guess = v, false
		} else if v != t.Service {
			tags["exported_service"] = v
		}
		delete(tags, "service")
	}
	for _, k := range []string{"container", "container_id", "container_name"} {
		v := tags[k]
		if v == "" {
			continue
		}
		switch {
		case t.Container == "" || t.Container == v:
			t.Container = v
			delete(tags, k)
		case k == "container":
			tags["exported_container"] = v
			delete(tags, k)
		}
	}
	if v := tags["node"]; v != "" {
		if t.Node == "" {
			t.Node = v
		} else if v != t.Node {
			tags["exported_node"] = v
		}
		delete(tags, "node")
	}
	tags["node"], tags["service"], tags["container"] = t.Node, t.Service, t.Container
	t.Guess = false
	b := labels.NewScratchBuilder(len(tags) + 1)
	n := 1
	b.Add(model.MetricNameLabel, name)
	for k, v := range tags {
		if v == "" {
			continue
		}
		if len(k) > maxName || len(v) > maxValue {
			return labels.EmptyLabels(), t, false
		}
		b.Add(k, v)
		n++
	}
	if n > maxLabels {
		return labels.EmptyLabels(), t, false
	}
	b.Sort()
	return b.Labels(), t, true
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// joined adds v to the comma-separated values of a tag that was given several times.
func joined(old, v string) string {
	all := strings.Split(old, ",")
	if !slices.Contains(all, v) {
		all = append(all, v)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// metricName brings a name into Prometheus's form. Names with a field separator come from broken lines.
func metricName(s string) string {
	if strings.ContainsAny(s, "|#\n") {
		return ""
	}
	return clean(s)
}

// labelName brings a tag's key into Prometheus's form and out of the names reserved for machinery.
func labelName(s string) string {
	s = clean(s)
	if strings.HasPrefix(s, "__") {
		return "tag" + s
	}
	return s
}

func clean(s string) string {
	ok := s != "" && (s[0] < '0' || s[0] > '9')
	for i := 0; ok && i < len(s); i++ {
		ok = plain(s[i])
	}
	if ok || s == "" {
		return s
	}
	b := make([]byte, 0, len(s)+1)
	if s[0] >= '0' && s[0] <= '9' {
		b = append(b, '_')
	}
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '_')
		}
	}
	return string(b)
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
