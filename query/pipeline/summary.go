package pipeline

import (
	"fmt"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

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
