package pipeline

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// groupEntry is a group in the list of all, with what it is searched by.
type groupEntry struct {
	row   answer.GroupRow
	text  string // lower case
	spark *spark // lag of the last hour; nil = none
}

// groupEntries lists the groups of all brokers for a view. They are made anew only when a broker was polled or time makes them stale.
func (t *tenant) groupEntries(now int64) (list []groupEntry, version uint64, at int64) {
	b := &t.broker
	if old := t.view.Load(); old != nil && old.groupsOf == b.version && old.groupsAt > now-5000 && old.groups != nil {
		return old.groups, old.groupsOf, old.groupsAt
	}
	n := 0
	for _, q := range b.queues {
		n += len(q.readings)
	}
	out := make([]groupEntry, 0, n)
	for _, q := range b.queues {
		for _, r := range q.readings {
			if r.lag.at == 0 || t.declared.ignored(q.destination, r.group) {
				continue
			}
			row := t.groupRow(r, now)
			e := groupEntry{row: row, text: strings.ToLower(row.Group + "\n" + row.Destination + "\n" + row.Cluster + "\n" + row.Pipeline)}
			if p := t.pipes[row.Pipeline]; p != nil {
				e.spark = p.sparks[flow.Input{Destination: row.Destination, Group: row.Group}]
			}
			out = append(out, e)
		}
	}
	return out, b.version, now
}

func (t *tenant) groupRow(r *reading, now int64) answer.GroupRow {
	g := &r.lag
	row := answer.GroupRow{
		ID: strings.Join([]string{escape(r.q.system), escape(r.q.cluster), escape(r.q.destination), escape(r.group)}, "~"), System: r.q.system, Cluster: r.q.cluster,
		Destination: r.q.destination, Group: r.group, Pipeline: r.pipeline, Stage: r.stage, State: answer.OK,
		GroupState: r.info.stateNow(now), Members: r.info.memberCount(now), Partitions: len(r.seats), Note: r.note(),
	}
	one := stageLook{lag: *g}
	row.Lag = lagAnswer(&one, noHistory)
	if !g.known && g.never == 0 { // reads only some records: what waits is told by the broker
		filtered := g.filtered
		row.Lag.Messages = &filtered
	}
	slo, _ := t.objective(r.pipeline)
	switch {
	case now-g.at > t.staleAfter(r.q.destination) || !g.known && (g.never > 0 || g.filtered > 0) || g.known && !g.lag.Known:
		row.State = answer.Unknown
	case g.lag.Seconds > slo && g.trend == flow.DrainingT:
		row.State = answer.Draining
	case g.lag.Seconds > slo:
		row.State = answer.Late
	case g.known && g.in == 0 && g.records == 0:
		row.State = answer.Idle
	}
	return row
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "~", "%7E") }

// Groups answers the list of consumer groups, searched, sorted and cut.
func (s *Service) Groups(ctx context.Context, id store.Tenant, q answer.GroupQuery) (answer.Groups, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Groups{}, err
	}
	out := answer.Groups{At: v.at, Groups: []answer.GroupRow{}, Counts: map[string]int{}}
	text := strings.ToLower(strings.TrimSpace(q.Text))
	found := make([]*groupEntry, 0, len(v.groups))
	for i := range v.groups {
		e := &v.groups[i]
		out.Counts[string(e.row.State)]++
		if q.State != "" && !strings.EqualFold(string(e.row.State), q.State) || q.System != "" && e.row.System != q.System || text != "" && !strings.Contains(e.text, text) {
			continue
		}
		found = append(found, e)
	}
	out.Total = len(found)
	byName := func(a, b *groupEntry) int {
		return cmp.Or(strings.Compare(a.row.Group, b.row.Group), strings.Compare(a.row.Destination, b.row.Destination), strings.Compare(a.row.ID, b.row.ID))
	}
	least := func(f *float64) float64 { // not known is more worrying than nothing
		if f == nil {
			return 1e-9
		}
		return *f
	}
	switch q.Sort {
	case "name":
		slices.SortFunc(found, byName)
	case "messages":
		slices.SortFunc(found, func(a, b *groupEntry) int {
			return cmp.Or(-cmp.Compare(least(a.row.Lag.Messages), least(b.row.Lag.Messages)), byName(a, b))
		})
	default:
		slices.SortFunc(found, func(a, b *groupEntry) int {
			return cmp.Or(-cmp.Compare(least(a.row.Lag.Seconds), least(b.row.Lag.Seconds)), -cmp.Compare(least(a.row.Lag.Messages), least(b.row.Lag.Messages)), byName(a, b))
		})
	}
	from := min(max(q.Offset, 0), len(found))
	to := len(found)
	if q.Limit > 0 {
		to = min(from+q.Limit, to)
	}
	for _, e := range found[from:to] {
		row := e.row
		if e.spark != nil { // only of those that are shown: the list is long
			row.Lag.History = e.spark.values()
		}
		out.Groups = append(out.Groups, row)
	}
	return out, nil
}
