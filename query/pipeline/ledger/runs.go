package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// Bounds of what one request reads about incidents, in verdicts, and how far back the begin of one is looked for.
const (
	maxBad   = 200_000
	maxReach = 30 * 24 * time.Hour
)

// ReadBad reads the bad verdicts of a range, of one pipeline or of all, and as far before and after it as its first and last
// incidents reach. now is in Unix milliseconds. For pages.
func (l *Ledger) ReadBad(ctx context.Context, from, to time.Time, pipeline string, now int64) (losses.Verdicts, error) {
	byKey := losses.Verdicts{}
	n := 0
	read := func(q store.VerdictQuery) error {
		vs, err := l.verdicts(ctx, q)
		if err != nil {
			return err
		}
		for _, v := range vs {
			k := bare(v.VerdictKey)
			byKey[k] = append(byKey[k], v)
		}
		if n += len(vs); n > maxBad {
			return fmt.Errorf("cannot list the incidents from %s to %s: more than %s windows are bad; ask for a shorter time or one pipeline: %w",
				from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), flow.Count(maxBad), store.ErrLimit)
		}
		return nil
	}
	for hi := to; hi.After(from); hi = hi.Add(-24 * time.Hour) {
		lo := hi.Add(-24 * time.Hour)
		if lo.Before(from) {
			lo = from
		}
		if err := read(store.VerdictQuery{Pipeline: pipeline, From: lo, To: hi, OnlyNotOK: true}); err != nil {
			return nil, err
		}
	}
	for lo := from; from.Sub(lo) < maxReach; lo = lo.Add(-24 * time.Hour) {
		open := pipelinesWith(byKey, func(v *store.Verdict) bool { return v.Window <= lo.Unix()+flow.RunGap*max(v.Width, 1) }) // it may have begun before
		if len(open) == 0 {
			break
		}
		for id := range open {
			if err := read(store.VerdictQuery{Pipeline: id, From: lo.Add(-24 * time.Hour), To: lo, OnlyNotOK: true}); err != nil {
				return nil, err
			}
		}
	}
	for hi := to; hi.UnixMilli() < now && hi.Sub(to) < maxReach; hi = hi.Add(24 * time.Hour) {
		open := pipelinesWith(byKey, func(v *store.Verdict) bool { return v.Window+(flow.RunGap+1)*max(v.Width, 1) >= hi.Unix() }) // it may go on
		if len(open) == 0 {
			break
		}
		for id := range open {
			if err := read(store.VerdictQuery{Pipeline: id, From: hi, To: hi.Add(24 * time.Hour), OnlyNotOK: true}); err != nil {
				return nil, err
			}
		}
	}
	return byKey, nil
}

// pipelinesWith are the pipelines that have a bad window of which something is true.
func pipelinesWith(vs losses.Verdicts, is func(*store.Verdict) bool) map[string]bool {
	out := map[string]bool{}
	for k, list := range vs {
		for i := range list {
			if _, bad := flow.BadWindow(&list[i]); bad && is(&list[i]) {
				out[k.Pipeline] = true
				break
			}
		}
	}
	return out
}

// ReadRun finds the run that an incident's id names: that which begins with its first window, Unix seconds, or, when verdicts were
// revised since, that which holds it or begins where it would have gone on; nil for none. now is in Unix milliseconds. For pages.
func (l *Ledger) ReadRun(ctx context.Context, k store.VerdictKey, kind flow.RunKind, first, now int64) (*flow.Run, error) {
	var vs []store.Verdict
	for lo, hi := time.Unix(first, 0).Add(-time.Hour), time.Unix(first, 0).Add(24*time.Hour); ; lo, hi = hi, hi.Add(24*time.Hour) {
		list, err := l.verdicts(ctx, store.VerdictQuery{Pipeline: k.Pipeline, From: lo, To: hi, OnlyNotOK: true})
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			if bare(v.VerdictKey) == k {
				vs = append(vs, v)
			}
		}
		if hi.UnixMilli() > now || len(vs) > maxBad {
			break
		}
		if n := len(vs); n == 0 || vs[n-1].Window+(flow.RunGap+1)*max(vs[n-1].Width, 1) < hi.Unix() {
			break // it ended before
		}
	}
	var near *flow.Run
	runs := flow.Runs(vs)
	for i := range runs {
		r := &runs[i]
		if r.Kind != kind {
			continue
		}
		if r.First <= first && first < r.End() {
			return r, nil
		}
		if near == nil && r.First > first && r.First <= first+(flow.RunGap+1)*max(r.Width, 1) {
			near = r
		}
	}
	return near, nil
}
