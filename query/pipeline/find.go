package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// hitKinds are the kinds of things that are found, in the order they are shown at equal rank.
var hitKinds = []string{"pipeline", "stage", "group"}

type ranked struct {
	answer.Hit
	rank int
}

// Find answers what pipelines, stages and groups are called like a text: whole prefix first, then a word's prefix, then
// anywhere, worst state first. No kind crowds out another. Without a text the worst pipelines are found.
func (s *Service) Find(ctx context.Context, id store.Tenant, text string, limit int) (answer.Hits, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Hits{}, err
	}
	q := strings.ToLower(strings.TrimSpace(text))
	words := losses.NewSearch(q)
	found := map[string][]ranked{}
	add := func(h answer.Hit, also string) {
		name := strings.ToLower(h.Name)
		if words.In(name + "\n" + also) {
			found[h.Kind] = append(found[h.Kind], ranked{h, rankOf(name, q)})
		}
	}
	for i := range v.rows {
		r := &v.rows[i]
		add(answer.Hit{ID: "pipeline~" + escape(r.ID), Kind: "pipeline", Name: r.ID, State: r.State, Pipeline: r.ID}, "")
	}
	if q != "" {
		for pipeline, page := range v.pages {
			for i := range page.Stages {
				st := &page.Stages[i]
				add(answer.Hit{ID: "stage~" + escape(pipeline) + "~" + escape(st.Stage), Kind: "stage", Name: st.Stage, State: st.State, Pipeline: pipeline, Stage: st.Stage}, strings.ToLower(pipeline))
			}
		}
		for i := range v.groups {
			e := &v.groups[i]
			r := &e.row
			add(answer.Hit{ID: "group~" + r.ID, Kind: "group", Name: r.Group, State: r.State, Pipeline: r.Pipeline, Stage: r.Stage, System: r.System, Destination: r.Destination}, e.text)
		}
	}
	return cutHits(found, limit), nil
}

// rankOf says how well a name fits, 0 best. Both are in lower case.
func rankOf(name, text string) int {
	switch {
	case strings.HasPrefix(name, text):
		return 0
	case slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(" -_./:", r) }), func(w string) bool { return strings.HasPrefix(w, text) }):
		return 1
	case strings.Contains(name, text):
		return 2
	default: // found by what it belongs to
		return 3
	}
}

// cutHits gives every kind its share of the limit, and what others leave.
func cutHits(found map[string][]ranked, limit int) answer.Hits {
	better := func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(slices.Index(hitKinds, a.Kind), slices.Index(hitKinds, b.Kind)),
			cmp.Compare(stateOrder[a.State], stateOrder[b.State]), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	}
	var in, rest []ranked
	for _, kind := range hitKinds {
		list := found[kind]
		slices.SortFunc(list, better)
		n := min(len(list), limit/len(hitKinds))
		in, rest = append(in, list[:n]...), append(rest, list[n:]...)
	}
	slices.SortFunc(rest, better)
	n := min(len(rest), limit-len(in))
	in = append(in, rest[:n]...)
	slices.SortFunc(in, better)
	out := answer.Hits{Hits: make([]answer.Hit, 0, len(in)), Left: len(rest) - n}
	for _, r := range in {
		out.Hits = append(out.Hits, r.Hit)
	}
	return out
}
