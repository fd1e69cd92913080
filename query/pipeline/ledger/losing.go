package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// Lost24h sums the losses of a balance in the day before now, Unix milliseconds, and the records whose fate is unknown.
func (b *Balance) Lost24h(now int64) (lost, bound int64) {
	for w, x := range b.bad {
		if w < now/1000-86400 {
			continue
		}
		lost += x.lost
		bound += x.bound
	}
	return lost, bound
}

// recentLoss returns the whole run of losses whose newest window was settled no longer than hold ago, at least
// two windows: what was lost in it, of how many records where that is still known, and the first window. A
// run goes on over gaps no longer than that, as the state does. Windows that lost as many as came twice (MIXED) belong to
// it, how many that were is not known. Nothing lost recently: since is 0.
func (b *Balance) recentLoss(now, hold int64) (lost, up, since int64) {
	recent, width := false, int64(0)
	var run []int64
	for w, x := range b.bad {
		if (x.lost <= 0 || !flow.IsLoss(x.state) && x.state != flow.Unknown) && x.state != flow.Mixed {
			continue
		}
		run = append(run, w)
		width = max(width, x.width)
		recent = recent || now-x.settle <= max(hold, 2*x.width*1000)
	}
	if !recent {
		return 0, 0, 0
	}
	slices.SortFunc(run, func(a, b int64) int { return cmp.Compare(b, a) })
	gap := max(hold/1000, 2*width) + width
	known := int64(0)
	for i, w := range run {
		if i > 0 && run[i-1]-w > gap {
			break
		}
		lost += b.bad[w].lost
		if h := b.hour[w].Up; h > 0 && b.bad[w].lost > 0 {
			known += b.bad[w].lost
			up += h
		}
		since = w
	}
	if known > 0 && known < lost { // windows older than the hour: the share of the younger ones stands for all
		up = int64(float64(up) * float64(lost) / float64(known))
	}
	return lost, up, since
}

// Losing says whether a loss was settled no longer than hold ago, at least two windows; both in milliseconds.
func (b *Balance) Losing(now, hold int64) bool {
	_, _, since := b.recentLoss(now, hold)
	return since > 0
}

// losingSince tells the first window of the run of losses that ends with the newest settled window.
func (b *Balance) losingSince(width int64) (since int64, still bool) {
	newest := int64(0)
	for w := range b.hour {
		newest = max(newest, w)
	}
	if newest == 0 || width <= 0 {
		return 0, false
	}
	for w := newest; ; w -= width {
		if !losses.Loses(b.bad[w].state, b.bad[w].lost) {
			return since, since != 0
		}
		since = w
	}
}

// Losing says whether a balance of a pipeline is Losing, and where most is lost, as a sentence.
func (l *Ledger) Losing(pipeline string, now, hold int64) (bool, string) {
	var worst *Balance
	var most, ofUp, from int64
	for _, b := range l.byPipe[pipeline] {
		lost, up, since := b.recentLoss(now, hold)
		if since > 0 && (worst == nil || lost > most) {
			worst, most, ofUp, from = b, lost, up, since
		}
	}
	if worst == nil {
		return false, ""
	}
	what := flow.Count(most) + " records"
	if most == 0 {
		what = "records, as many as came twice,"
	}
	if ofUp > 0 {
		what = flow.Percent(float64(most)/float64(ofUp)) + ", " + what
	}
	at := time.Unix(from, 0).UTC().Format("15:04:05 UTC")
	if worst.Key.Kind == store.EdgeBalance {
		return true, fmt.Sprintf("%s loses %s since %s.", worst.Key.To, what, at)
	}
	return true, fmt.Sprintf("%s lost on the way %s, since %s.", strings.ToUpper(what[:1])+what[1:], losses.Where(worst.Key), at)
}

// RecentLosses are the balances that lost something in windows of the hour before now, Unix milliseconds: the 20 worst, from memory.
func (l *Ledger) RecentLosses(now int64) []answer.LossRow {
	out := []answer.LossRow{}
	from := now/1000 - 3600
	for k, b := range l.balances {
		var vs []store.Verdict
		for w, x := range b.bad {
			if w < from || !losses.Loses(x.state, x.lost) {
				continue
			}
			v, ok := b.verdicts[w]
			if !ok {
				v = x.verdict(k, w)
			}
			vs = append(vs, v)
		}
		if len(vs) == 0 {
			continue
		}
		slices.SortFunc(vs, func(a, b store.Verdict) int { return cmp.Compare(a.Window, b.Window) })
		r := losses.Row(k, vs, from, now/1000)
		r.Incident = l.incidentOf(k)
		if since, still := b.losingSince(vs[0].Width); still {
			r.Since, r.Still = &since, true
		} else {
			r.Still = false
		}
		out = append(out, r)
	}
	losses.Sort(out)
	return out[:min(len(out), 20)]
}
