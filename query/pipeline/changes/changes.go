package changes

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
)

// maxChanges bounds what is shown beside a page.
const maxChanges = 50

// Subject is a pipeline whose changes are asked for; nil stands for all pipelines.
type Subject struct {
	Pipeline string
	Services map[string]bool // of its stages, and their names
}

// concerns says whether an annotation is about a subject: about all, about it, or about a service of its stages.
func (s *Subject) concerns(a *answer.Annotation) bool {
	switch {
	case s == nil:
		return true
	case a.Pipeline != "":
		return a.Pipeline == s.Pipeline
	}
	return a.Service == "" || s.Services[a.Service]
}

// Log is what the evaluation itself noted, in order of time. A copy stays what it was.
type Log []answer.Change

// Note adds to the log, whose older half makes room once it holds more than most. at is in Unix milliseconds.
func (l *Log) Note(most int, at int64, kind, text string) {
	*l = append(*l, answer.Change{At: at, Kind: kind, Text: text})
	if len(*l) > most {
		*l = slices.Clone((*l)[most/2:])
	}
}

// Around lists what happened in [from, to], Unix milliseconds, that may concern a subject, newest first: what people and
// deploy scripts told, new versions, and what stands in the logs.
func (b *Annotations) Around(about *Subject, from, to int64, logs []Log) []answer.Change {
	out := []answer.Change{}
	b.each(from, to, func(a *answer.Annotation) {
		if !about.concerns(a) {
			return
		}
		text := a.Text
		switch {
		case a.Seen:
		case a.Service != "" && !strings.Contains(text, a.Service):
			text = a.Service + ": " + text
		case about == nil && a.Pipeline != "" && !strings.Contains(text, a.Pipeline):
			text = a.Pipeline + ": " + text
		}
		out = append(out, answer.Change{At: a.At, Text: text, Kind: a.Kind})
	})
	for _, log := range logs {
		for i := range log {
			c := &log[len(log)-1-i]
			if c.At < from {
				break // logs are in order of time
			}
			if c.At <= to {
				out = append(out, *c)
			}
		}
		if len(out) > 8*maxChanges { // the newest of what there is so far: nothing older can get in
			out = newest(out)
			from = max(from, out[len(out)-1].At)
		}
	}
	return newest(out)
}

func newest(out []answer.Change) []answer.Change {
	slices.SortStableFunc(out, func(x, y answer.Change) int {
		return cmp.Or(-cmp.Compare(x.At, y.At), strings.Compare(x.Text, y.Text), strings.Compare(x.Kind, y.Kind))
	})
	out = slices.CompactFunc(out, func(x, y answer.Change) bool { return x == y })
	return out[:min(len(out), maxChanges)]
}
