// Package rules says what the series of known systems mean: which counter is the input of which stage, which
// gauge is a backlog, which label names the pipeline. One YAML file per system lies in this folder and is part
// of the binary; users add files of their own (pipelines.rules_dir). docs/rules.md explains the form.
//
// Files come in, matches go out to query/counters: a series' labels → role and names. Pure, as all of query/flow.
package rules

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Role is what a series means.
type Role string

// Counters of a stage. They are read as increases; a fall is a restart.
const (
	In       Role = "in"       // handed to the stage; with destination and group: what it read there
	Out      Role = "out"      // acknowledged by the next hop; with destination: what it wrote there
	Filtered Role = "filtered" // left out on purpose
	Dropped  Role = "dropped"  // given up, with a reason: lost, and explained
	DLQ      Role = "dlq"      // put aside
	Added    Role = "added"    // made by the stage itself
	Failed   Role = "failed"   // attempts that failed; they may be tried again
	Retried  Role = "retried"  // tried again
	// BusySeconds and PressureSeconds grow by the seconds of work, of waiting for the output.
	BusySeconds     Role = "busy_seconds"
	PressureSeconds Role = "pressure_seconds"
)

// Gauges of a stage.
const (
	RateIn    Role = "rate_in"  // records per second, where there is no counter
	RateOut   Role = "rate_out" // records per second
	Queued    Role = "queue"    // records held
	Capacity  Role = "capacity" // records that can be held
	Fill      Role = "fill"     // 0..1
	Held      Role = "held"     // above 0: something is held, nobody says how many records
	Busy      Role = "busy"     // 0..1
	Pressure  Role = "pressure" // 0..1 share of the time the output was blocked
	Watermark Role = "watermark"
	Lag       Role = "lag"      // seconds behind
	Behind    Role = "behind"   // seconds its readers are behind; beyond the objective it is late
	Restarts  Role = "restarts" // total
	Waiting   Role = "waiting"  // records before the stage, not yet counted as in
	RateMax   Role = "rate_max" // records per second the stage could take; busy = rate_in / rate_max
	Link      Role = "link"     // above 0: the stage hands on to the stage that "to" names
)

// Figures of a broker.
const (
	End       Role = "end"       // offset the next record will get
	Start     Role = "start"     // oldest offset that can be read
	Committed Role = "committed" // next offset of a group
	Backlog   Role = "backlog"   // records waiting, where there are no offsets
	Unacked   Role = "unacked"   // handed out, not acknowledged
	Age       Role = "age"       // seconds of the oldest record that waits
	Members   Role = "members"   // of a group
	Published Role = "published" // counter: taken in by the destination
	Acked     Role = "acked"     // counter: acknowledged
	Discarded Role = "discarded" // counter: given up by the broker, with a reason
)

var stageRoles = []Role{
	In, Out, Filtered, Dropped, DLQ, Added, Failed, Retried, BusySeconds, PressureSeconds,
	RateIn, RateOut, RateMax, Queued, Waiting, Capacity, Fill, Held, Busy, Pressure, Watermark, Lag, Behind, Restarts, Link,
}

var brokerRoles = []Role{End, Start, Committed, Backlog, Unacked, Age, Members, Published, Acked, Discarded}

// Counter says whether the role is read as increases.
func (r Role) Counter() bool {
	switch r {
	case In, Out, Filtered, Dropped, DLQ, Added, Failed, Retried, BusySeconds, PressureSeconds, Published, Acked, Discarded:
		return true
	default:
		return false
	}
}

// Broker says whether the role is a figure of a broker; else of a stage.
func (r Role) Broker() bool { return slices.Contains(brokerRoles, r) }

// Set is all systems, in the order in which they are asked.
type Set struct {
	Systems []*System
	exact   map[string][]*Rule
	pattern []*Rule
}

// System is one file.
type System struct {
	Name, Title string
	File        string
	Seen        []string // where the names were found
	Traps       []string
	// Hold is how long a record may stay inside a stage unseen; a rule may have its own.
	Hold time.Duration
	// Quiet: balances are judged only while nothing moves, or while the held gauge is at its lowest.
	Quiet bool
	// Through: all sources against the one sink of an instance are a balance too.
	Through bool
	// Order of kinds that links stages of one pipeline where a kind has one stage.
	Order []string
	Rules []*Rule
}

// Rule gives a role to the series of one name.
type Rule struct {
	System   *System
	Names    []string
	Pattern  *regexp.Regexp // instead of names; named groups are read like labels
	Where    []Condition
	Role     Role
	Kind     string // source, stage, sink; "" = stage
	Balanced bool   // what goes in must come out: in = out + filtered + dropped + dlq + held
	Apart    bool   // given up before the stage counted it as in: told, but no part of its balance
	Hold     time.Duration
	Scale    float64
	Add      float64
	Ignore   []Range

	pipeline, stage, instance, unit, broker, cluster, destination, group, partition, reason, to *Template
}

// Range of values that mean "not known".
type Range struct{ From, To float64 }

// Condition on a label; all of a rule must hold.
type Condition struct {
	Label  string
	Not    bool
	Values []string // one of these; "" = absent
	re     *regexp.Regexp
}

// Match is what a series means.
type Match struct {
	Rule                                           *Rule
	Pipeline, Stage, Instance, To, Reason          string // of a stage
	Unit                                           string // logs, spans …: balances of different units are apart
	Broker, Cluster, Destination, Group, Partition string // of a broker; of a stage, what it reads or writes
	ClusterLabel                                   string // of a broker: the label that told Cluster; empty = a constant, or none
}

// Value scales a sample; ok is false when it says nothing.
func (r *Rule) Value(v float64) (float64, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	for _, x := range r.Ignore {
		if v >= x.From && v <= x.To {
			return 0, false
		}
	}
	return v*r.Scale + r.Add, true
}

// maxName bounds names made of labels, bytes.
const maxName = 250

// Match finds the first rule for a series; get returns a label's value, "" when absent. Named tells whether a
// rule applied but a name it needs could not be made.
func (s *Set) Match(name string, get func(string) string) (m Match, ok, unnamed bool) {
	for _, r := range s.exact[name] {
		if m, ok, un := r.match(get); ok || un {
			return m, ok, un
		}
	}
	for _, r := range s.pattern {
		g := r.Pattern.FindStringSubmatch(name)
		if g == nil {
			continue
		}
		named := r.Pattern.SubexpNames()
		m, ok, un := r.match(func(l string) string {
			if i := slices.Index(named, l); i > 0 && g[i] != "" {
				return g[i]
			}
			return get(l)
		})
		if ok || un {
			return m, ok, un
		}
	}
	return Match{}, false, false
}

// Knows says whether any rule reads series of this name.
func (s *Set) Knows(name string) bool {
	if len(s.exact[name]) > 0 {
		return true
	}
	return slices.ContainsFunc(s.pattern, func(r *Rule) bool { return r.Pattern.MatchString(name) })
}

func (r *Rule) match(get func(string) string) (m Match, ok, unnamed bool) {
	for i := range r.Where {
		if !r.Where[i].holds(get(r.Where[i].Label)) {
			return m, false, false
		}
	}
	m.Rule = r
	for _, f := range []struct {
		to   *string
		t    *Template
		must bool
	}{
		{&m.Pipeline, r.pipeline, !r.Role.Broker()},
		{&m.Stage, r.stage, !r.Role.Broker()},
		{&m.Instance, r.instance, false},
		{&m.Unit, r.unit, false},
		{&m.To, r.to, false},
		{&m.Reason, r.reason, false},
		{&m.Broker, r.broker, r.Role.Broker()},
		{&m.Cluster, r.cluster, false},
		{&m.Destination, r.destination, r.Role.Broker() && r.Role != Members},
		{&m.Group, r.group, r.Role == Committed || r.Role == Members},
		{&m.Partition, r.partition, false},
	} {
		v, have := f.t.Make(get)
		if !have && f.must {
			return Match{}, false, true
		}
		*f.to = v[:min(len(v), maxName)]
	}
	if r.Role.Broker() {
		m.ClusterLabel = r.cluster.source(get)
	}
	return m, true, false
}

func (c *Condition) holds(v string) bool {
	found := slices.Contains(c.Values, v)
	if c.re != nil {
		found = c.re.MatchString(v)
	}
	return found != c.Not
}

// Template makes a name of labels: text with {label}, {first|second} or {label|=constant}.
type Template struct {
	text  string
	parts []part
}

type part struct {
	text   string
	labels []string // alternatives; "=x" is a constant
}

// Make fills the template; ok is false when a label is missing or the template is.
func (t *Template) Make(get func(string) string) (string, bool) {
	if t == nil {
		return "", false
	}
	if len(t.parts) == 1 && t.parts[0].labels == nil {
		return t.parts[0].text, true
	}
	var b strings.Builder
next:
	for _, p := range t.parts {
		if p.labels == nil {
			b.WriteString(p.text)
			continue
		}
		for _, l := range p.labels {
			if c, ok := strings.CutPrefix(l, "="); ok {
				b.WriteString(c)
				continue next
			}
			if v := get(l); v != "" {
				b.WriteString(v)
				continue next
			}
		}
		return "", false
	}
	return b.String(), true
}

// source is the first label that fills the template; empty when a constant does, or nothing.
func (t *Template) source(get func(string) string) string {
	if t == nil {
		return ""
	}
	for _, p := range t.parts {
		for _, l := range p.labels {
			if strings.HasPrefix(l, "=") {
				break
			}
			if get(l) != "" {
				return l
			}
		}
	}
	return ""
}

// newSet indexes systems. Of two files with the same system name the later one replaces the earlier.
func newSet(systems []*System) *Set {
	s := &Set{exact: map[string][]*Rule{}}
	at := map[string]int{}
	for _, sys := range systems {
		if i, ok := at[sys.Name]; ok {
			s.Systems[i] = sys
			continue
		}
		at[sys.Name] = len(s.Systems)
		s.Systems = append(s.Systems, sys)
	}
	slices.SortStableFunc(s.Systems, func(a, b *System) int { return cmp.Compare(a.Name, b.Name) })
	for _, sys := range s.Systems {
		for _, r := range sys.Rules {
			if r.Pattern != nil {
				s.pattern = append(s.pattern, r)
			}
			for _, n := range r.Names {
				s.exact[n] = append(s.exact[n], r)
			}
		}
	}
	return s
}

// Rank orders names for reading: inputs, outputs, then the rest.
func (s *Set) Rank(name string) int {
	rank := 2
	for _, r := range s.exact[name] {
		switch r.Role {
		case In, End:
			rank = min(rank, 0)
		case Out, Published:
			rank = min(rank, 1)
		default: // after them
		}
	}
	return rank
}
