package pipeline

import (
	"slices"

	"github.com/weirhq/weir/query/answer"
)

// stageFacts are what counters tell of a stage; nil = not known.
type stageFacts struct {
	busy, pressure *float64 // 0..1
	watermark      *float64 // how far its watermark is behind now, seconds
}

// hooks are what counters and spans tell about a stage, apart so that tests can tell something else. They are called with the
// tenant's lock held and answer from memory.
type hooks struct {
	facts        func(p *pipe, stage string, now int64) stageFacts
	dependencies func(p *pipe, stage string, now int64) []answer.Dependency // slowest first
}

func (t *tenant) facts(p *pipe, stage string, now int64) stageFacts {
	return t.hooks.facts(p, stage, now)
}

func (t *tenant) slowOf(p *pipe, stage string, now int64) []answer.Dependency {
	return orEmpty(t.hooks.dependencies(p, stage, now))
}

// changesNear are the changes of a pipeline in a stretch of time, oldest first.
func (t *tenant) changesNear(p *pipe, from, to int64) []answer.Change {
	out := t.changesAround(p, from, to)
	slices.SortStableFunc(out, func(a, b answer.Change) int { return int(max(min(a.At-b.At, 1), -1)) })
	return out
}

// servedBy are the names under which the processes of a stage send spans and usage.
func (t *tenant) servedBy(p *pipe, stage string) []string {
	return t.servicesOf(p.id, stage)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
