package pipeline

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
)

// Kinds of changes that weir finds itself; those of annotations are as they were told.
const (
	changeState     = "state"
	changeCollector = "collector"
	changeInstance  = "instance"
	changeRewind    = "rewind"
	changeDeploy    = "deploy"
)

// maxChanges bounds what is shown beside a page.
const maxChanges = 50

// changesAround lists what happened in [from, to], Unix milliseconds, that may concern a pipeline, newest first: what
// people and deploy scripts told, new versions, restarts of collectors, new instances, changes of state. A nil pipeline
// means all.
func (t *tenant) changesAround(p *pipe, from, to int64) []answer.Change {
	out := []answer.Change{}
	t.annotated(from, to, func(a *answer.Annotation) {
		if p != nil && !t.concerns(a, p.id) {
			return
		}
		text := a.Text
		switch {
		case a.Seen:
		case a.Service != "" && !strings.Contains(text, a.Service):
			text = a.Service + ": " + text
		case p == nil && a.Pipeline != "" && !strings.Contains(text, a.Pipeline):
			text = a.Pipeline + ": " + text
		}
		out = append(out, answer.Change{At: a.At, Text: text, Kind: a.Kind})
	})
	logs := [][]answer.Change{t.log}
	if p != nil {
		logs = append(logs, p.log)
	} else {
		for _, p := range t.pipes {
			logs = append(logs, p.log)
		}
	}
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
			out = newestChanges(out)
			from = max(from, out[len(out)-1].At)
		}
	}
	return newestChanges(out)
}

func newestChanges(out []answer.Change) []answer.Change {
	slices.SortStableFunc(out, func(x, y answer.Change) int {
		return cmp.Or(-cmp.Compare(x.At, y.At), strings.Compare(x.Text, y.Text), strings.Compare(x.Kind, y.Kind))
	})
	out = slices.CompactFunc(out, func(x, y answer.Change) bool { return x == y })
	return out[:min(len(out), maxChanges)]
}

// recentChanges are the newest ones of the last day, for the pages.
func (t *tenant) recentChanges(p *pipe, now int64) []answer.Change {
	out := t.changesAround(p, now-86400_000, now+86400_000)
	return out[:min(len(out), 20)]
}

// note adds to the changes shown beside every pipeline of the tenant.
func (t *tenant) note(at int64, kind, text string) {
	t.log = append(t.log, answer.Change{At: at, Kind: kind, Text: text})
	if len(t.log) > 200 {
		t.log = slices.Delete(t.log, 0, 100)
	}
}

func (p *pipe) note(at int64, kind, text string) {
	p.log = append(p.log, answer.Change{At: at, Kind: kind, Text: text})
	if len(p.log) > 100 {
		p.log = slices.Delete(p.log, 0, 50)
	}
}
