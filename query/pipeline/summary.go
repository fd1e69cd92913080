package pipeline

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// losing says whether a settled loss is recent, and where.
func (t *tenant) losing(p *pipe, now int64) (bool, string) {
	var worst *book
	var most, ofUp, from int64
	for _, b := range t.ledger.byPipe[p.id] {
		lost, up, since := b.recentLoss(now, t.s.cfg.Losing.Milliseconds())
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
	if worst.key.Kind == store.EdgeBalance {
		return true, fmt.Sprintf("%s loses %s since %s.", worst.key.To, what, at)
	}
	return true, fmt.Sprintf("%s lost on the way %s, since %s.", strings.ToUpper(what[:1])+what[1:], where(worst.key), at)
}

// where names a balance: the stage, or the way from stage over queue to stage.
func where(k store.VerdictKey) string {
	if k.Kind == store.EdgeBalance {
		return k.To
	}
	parts := []string{}
	for _, s := range []string{strings.ReplaceAll(k.From, ",", " + "), k.Destination, k.To} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " → ")
}

// headline is the state of the whole and the sentence of the Now page.
func headline(rows []answer.PipelineRow) (answer.State, string) {
	if len(rows) == 0 {
		return answer.Unknown, "Nothing is known yet: no application counts and no broker is read."
	}
	n := map[answer.State]int{}
	for i := range rows {
		n[rows[i].State]++
	}
	worst := rows[0]
	if worst.State == answer.OK || worst.State == answer.Idle {
		if len(rows) == 1 {
			return worst.State, "The one pipeline is well."
		}
		return answer.OK, fmt.Sprintf("All %d pipelines are well.", len(rows))
	}
	var parts []string
	for _, s := range []struct {
		state answer.State
		text  string
	}{{answer.Losing, "losing data"}, {answer.Late, "late"}, {answer.Unknown, "unknown"}, {answer.Draining, "catching up"}} {
		if n[s.state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s.state], s.text))
		}
	}
	return worst.State, fmt.Sprintf("%s of %d. %s: %s", flow.List(parts), len(rows), worst.ID, worst.Sentence)
}
