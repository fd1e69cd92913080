package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
)

// Words of weir's answers.
const (
	saidOK            = "OK"
	saidLoss          = "LOSS"
	saidDuplicates    = "DUPLICATES"
	saidMixed         = "MIXED"
	saidFiltered      = "FILTERED"
	saidUnknown       = "UNKNOWN"
	saidInFlight      = "IN_FLIGHT"
	saidLate          = "LATE"
	saidRetentionLoss = "RETENTION_LOSS"
	saidSkipped       = "SKIPPED"
	saidProbableLoss  = "PROBABLE_LOSS"
	saidLT            = "T" // level of evidence: paired spans
)

func (k *checker) width() int64 { return int64(k.opt.Window / time.Second) }

// rangeOf is the query of [from, to), Unix seconds.
func rangeOf(from, to int64) url.Values {
	return url.Values{"from": {strconv.FormatInt(from*1000, 10)}, "to": {strconv.FormatInt(to*1000, 10)}}
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("15:04:05") }

// balance is what the ledgers say of one balance in one window: nothing else may be found there.
type balance struct{ lost, surplus, filtered, dead int64 }

// unread are the ways in which records are gone before a stage reads them, and what weir must call it.
func unread() map[string]string {
	return map[string]string{"expired": saidRetentionLoss, "skipped": saidSkipped}
}

// expected is the truth of a balance: what the stage itself did, or what the stage before it wrote twice.
func expected(row *answer.LossRow, win int64, did map[string]map[int64]int64) (balance, []string) {
	if row.Kind == "transport" {
		from, to := row.Where, row.Where
		if i := strings.Index(from, " →"); i >= 0 {
			from, to = from[:i], to[strings.LastIndex(to, "→ ")+len("→ "):]
		}
		b := balance{surplus: did["doubled by "+from][win]}
		var called []string
		for kind, verdict := range unread() {
			if n := did[kind+" by "+to][win]; n > 0 {
				b.lost += n
				called = append(called, verdict)
			}
		}
		if called == nil {
			called = b.verdictOf()
		}
		return b, called
	}
	b := balance{
		lost: did["dropped by "+row.Where][win], filtered: did["filtered by "+row.Where][win],
		dead: did["dead-lettered by "+row.Where][win],
	}
	return b, b.verdictOf()
}

// verdictOf is what weir must call it.
func (b balance) verdictOf() []string {
	switch {
	case b.lost > 0 && b.surplus > 0:
		return []string{saidMixed}
	case b.lost > 0:
		return []string{saidLoss}
	case b.surplus > 0:
		return []string{saidDuplicates}
	case b.filtered > 0:
		return []string{saidOK, saidFiltered}
	}
	return []string{saidOK}
}

// found is a window of a balance as weir shows it.
type found struct {
	row *answer.LossRow
	answer.LossWindow
}

// windowsOf reads the given windows of all balances of a pipeline; "" = of all pipelines. A window that weir does not show is left out.
func (k *checker) windowsOf(ctx context.Context, pipeline string, wins []int64) ([]found, int, error) {
	q := rangeOf(slices.Min(wins), slices.Max(wins)+k.width())
	var l answer.Loss
	if err := k.get(ctx, "/api/v1/loss?"+q.Encode(), &l); err != nil {
		return nil, 0, err
	}
	var out []found
	rows := 0
	for i := range l.Rows {
		row := &l.Rows[i]
		if pipeline != "" && row.Pipeline != pipeline || pipeline == "" && row.Level == saidLT { // spans are judged minutes later
			continue
		}
		rows++
		var d answer.LossDetail
		if err := k.get(ctx, "/api/v1/loss/"+url.PathEscape(row.ID)+"?"+q.Encode(), &d); err != nil {
			return nil, 0, err
		}
		for _, w := range d.Windows {
			if slices.Contains(wins, w.Window) {
				out = append(out, found{row, w})
			}
		}
	}
	return out, rows, nil
}

// exact compares windows of a pipeline with the ledgers: what they say must be found where it was done, and nothing anywhere else.
func (k *checker) exact(ctx context.Context, pipeline string, rows int, wins []int64) (string, bool) {
	did, err := k.injected()
	if err != nil {
		return err.Error(), false
	}
	fs, have, err := k.windowsOf(ctx, pipeline, wins)
	if err != nil {
		return err.Error(), false
	}
	var wrong []string
	sums := map[string]int64{}
	settled, asked := 0, rows*len(wins)
	for _, f := range fs {
		if !f.Settled {
			continue
		}
		settled++
		if f.row.Kind == "transport" && f.Down == 0 {
			asked-- // of what its reader took nothing it has no balance
		}
		want, called := expected(f.row, f.Window, did)
		got := balance{f.Lost, f.Surplus, f.Filtered, f.DLQ}
		if got != want || !slices.Contains(called, f.Verdict) {
			wrong = append(wrong, fmt.Sprintf("%s %s: %s %+v, injected %+v", f.row.Where, clock(f.Window), f.Verdict, got, want))
			continue
		}
		for word, n := range map[string]int64{"lost in ": got.lost, "twice on ": got.surplus, "filtered by ": got.filtered, "dead letters of ": got.dead} {
			if n > 0 {
				sums[word+f.row.Where] += n
			}
		}
	}
	var say []string
	for _, s := range sortedKeys(sums) {
		say = append(say, fmt.Sprintf("%d %s", sums[s], s))
	}
	if len(say) == 0 {
		say = []string{"0 lost, 0 twice"}
	}
	if settled != asked || have != rows {
		wrong = append(wrong, fmt.Sprintf("%d of %d windows settled in %d balances, want %d", settled, asked, have, rows))
	}
	if len(wrong) > 0 {
		say = append(say, wrong[:min(4, len(wrong))]...)
	}
	return strings.Join(say, "; "), len(wrong) == 0
}

// harmless wants of windows around a crash that they are settled and that nothing is called lost.
func (k *checker) harmless(ctx context.Context, pipeline string, wins []int64) (string, bool) {
	fs, rows, err := k.windowsOf(ctx, pipeline, wins)
	if err != nil {
		return err.Error(), false
	}
	states := map[string]int{}
	var lost int64
	open := rows*len(wins) - len(fs)
	for _, f := range fs {
		states[f.Verdict]++
		lost += f.Lost
		if !f.Settled {
			open++
		}
	}
	bad := 0
	for s, n := range states {
		if !slices.Contains([]string{saidOK, saidUnknown, saidFiltered, saidDuplicates}, s) {
			bad += n
		}
	}
	return fmt.Sprintf("lost %d, %d windows open, by verdict %v", lost, open, states), lost == 0 && open == 0 && bad == 0 && rows > 0
}

// told sums what the ledgers of a pipeline say of windows, as text.
func (k *checker) told(pipeline string, wins ...int64) string {
	did, err := k.injected()
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, kind := range sortedKeys(did) {
		if !k.runs(pipeline, kind[strings.LastIndexByte(kind, ' ')+1:]) {
			continue
		}
		var n int64
		for _, w := range wins {
			n += did[kind][w]
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// runs says whether a pipeline has an application of that service.
func (k *checker) runs(pipeline, service string) bool {
	return slices.ContainsFunc(k.apps, func(a app) bool { return a.pipeline == pipeline && a.service == service })
}
