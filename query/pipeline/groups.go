package pipeline

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
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
	b := t.broker
	if old := t.view.Load(); old != nil && old.groupsOf == b.Version() && old.groupsAt > now-5000 && old.groups != nil {
		return old.groups, old.groupsOf, old.groupsAt
	}
	out := make([]groupEntry, 0, b.Len())
	for r := range b.Readings() {
		if r.Lag.At == 0 || t.declared.Ignored(r.Queue.Destination, r.Group) {
			continue
		}
		row := t.groupRow(r, now)
		e := groupEntry{row: row, text: strings.ToLower(row.Group + "\n" + row.Destination + "\n" + row.Cluster + "\n" + row.Pipeline)}
		if p := t.pipes[row.Pipeline]; p != nil {
			e.spark = p.sparks[flow.Input{Destination: row.Destination, Group: row.Group}]
		}
		out = append(out, e)
	}
	return out, b.Version(), now
}

func (t *tenant) groupRow(r *brokers.Reading, now int64) answer.GroupRow {
	g, q := &r.Lag, r.Queue
	row := answer.GroupRow{
		ID: strings.Join([]string{escape(q.System), escape(q.Cluster), escape(q.Destination), escape(r.Group)}, "~"), System: q.System, Cluster: q.Cluster,
		Destination: q.Destination, Group: r.Group, Pipeline: r.Pipeline, Stage: r.Stage, State: answer.OK,
		GroupState: r.Info.State(now), Members: r.Info.Members(now), Partitions: r.Partitions(), Note: r.Note(),
	}
	one := stageLook{lag: *g}
	row.Lag = lagAnswer(&one, noHistory)
	if !g.Known && g.Never == 0 { // reads only some records: what waits is told by the broker
		filtered := g.Filtered
		row.Lag.Messages = &filtered
	}
	slo, _ := t.objective(r.Pipeline)
	switch {
	case now-g.At > t.staleAfter(q.Destination) || !g.Known && (g.Never > 0 || g.Filtered > 0) || g.Known && !g.Time.Known || r.Uncounted():
		row.State = answer.Unknown
	case g.Time.Seconds > slo && g.Trend == flow.DrainingT:
		row.State = answer.Draining
	case g.Time.Seconds > slo:
		row.State = answer.Late
	case g.Known && g.In == 0 && g.Records == 0:
		row.State = answer.Idle
	}
	return row
}

// noHistory is an empty list that JSON does not show as null.
var noHistory = []float64{}

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
