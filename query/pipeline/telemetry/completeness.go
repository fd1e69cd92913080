package telemetry

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

// maxMissing bounds the sentences of one answer.
const maxMissing = 50

// Completeness is how much of the expected telemetry arrived: the share of auditors that are heard (nil: none is expected), times that
// of the items that were not lost on the way in the last quarter of an hour, times that of the polled brokers that answer; and what is
// missing. now is in Unix milliseconds.
func (b *Book) Completeness(audit *flow.Audit, polls iter.Seq2[brokers.ClusterKey, brokers.Poll], now int64) answer.Completeness {
	c := answer.Completeness{Missing: []string{}}
	share, expected := 1.0, false
	part := func(good, all float64) {
		if all > 0 {
			share, expected = share*good/all, true
		}
	}
	if audit != nil && audit.Known > 0 {
		part(float64(audit.Known-audit.Quiet), float64(audit.Known))
		for _, g := range audit.Silent() {
			c.Missing = append(c.Missing, g.Sentence(now))
		}
	}
	var taken, lost float64
	for name, n := range b.nodes {
		n.roll(now / 60_000)
		for _, x := range n.taken {
			taken += x
		}
		for what, m := range n.lost {
			sum := 0.0
			for _, x := range m {
				sum += x
			}
			if sum <= 0 {
				delete(n.lost, what)
				continue
			}
			lost += sum
			c.Missing = append(c.Missing, fmt.Sprintf("%s %s of %s in the last %d minutes.", flow.Count(int64(sum)), what, cmp.Or(name, "a collector"), minutes))
		}
	}
	if taken > 0 {
		part(taken, taken+lost)
	}
	for _, col := range b.options.Collectors() {
		if col.Gaps != 0 {
			c.Missing = append(c.Missing, fmt.Sprintf("%s records of the spool of %s never arrived.", flow.Count(col.Gaps), col.Node))
		}
	}
	up, clusters := 0, 0
	for ck, poll := range polls {
		name := strings.TrimSpace(ck.System + " " + ck.Cluster)
		switch {
		case now-poll.At > b.options.Forget.Milliseconds():
			continue
		case now-poll.At > brokers.StaleAfter:
			c.Missing = append(c.Missing, fmt.Sprintf("No offsets of %s for %s.", name, flow.Age(float64(now-poll.At)/1000)))
		case !poll.Up:
			c.Missing = append(c.Missing, "The broker "+name+" does not answer.")
		default:
			up++
		}
		clusters++
	}
	part(float64(up), float64(clusters))
	if expected {
		c.Share = &share
	}
	slices.Sort(c.Missing)
	if n := len(c.Missing) - maxMissing; n > 0 {
		c.Missing = append(c.Missing[:maxMissing], fmt.Sprintf("And %d more.", n))
	}
	return c
}
