package live

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/weirhq/weir/query/answer"
)

// maxGroups bounds the rows of one page of groups: a page is compared row by row at each step.
const maxGroups = 500

// groupQuery reads the parameters of GET /api/v1/groups as topic groups takes them, URL-encoded.
func groupQuery(params string) (g answer.GroupQuery, err error) {
	v, err := url.ParseQuery(params)
	if err != nil {
		return g, fmt.Errorf("query is %q: must be URL-encoded parameters of /api/v1/groups: %w", params, err)
	}
	g = answer.GroupQuery{Text: v.Get("q"), State: v.Get("state"), System: v.Get("system"), Sort: v.Get("sort"), Limit: 100}
	if g.Sort == "" {
		g.Sort = "lag"
	}
	if !slices.Contains([]string{"lag", "messages", "name"}, g.Sort) {
		return g, fmt.Errorf("sort is %q: must be lag, messages or name", g.Sort)
	}
	for name, to := range map[string]*int{"limit": &g.Limit, "offset": &g.Offset} {
		if !v.Has(name) {
			continue
		}
		if *to, err = strconv.Atoi(v.Get(name)); err != nil {
			return g, fmt.Errorf("%s is %q: must be a whole number", name, v.Get(name))
		}
	}
	if g.Limit < 1 || g.Limit > maxGroups || g.Offset < 0 {
		return g, fmt.Errorf("limit is %d and offset %d: limit must be 1 to %d, offset at least 0", g.Limit, g.Offset, maxGroups)
	}
	return g, nil
}

// maxText bounds the words of a search, in characters, as the HTTP route does.
const maxText = 200

// lossQuery reads what topics loss and incidents are asked for: key names a pipeline, params are those of
// GET /api/v1/loss without the range, URL-encoded.
func lossQuery(key, params string) (l answer.LossQuery, err error) {
	v, err := url.ParseQuery(params)
	if err != nil {
		return l, fmt.Errorf("query is %q: must be URL-encoded parameters of /api/v1/loss: %w", params, err)
	}
	l = answer.LossQuery{Pipeline: key, Text: v.Get("q"), Verdict: v.Get("verdict")}
	if !slices.Contains([]string{"", "loss", "unknown"}, l.Verdict) {
		return l, fmt.Errorf("verdict is %q: must be loss or unknown, or left out", l.Verdict)
	}
	if n := utf8.RuneCountInString(l.Text); n > maxText {
		return l, fmt.Errorf("q has %d characters: at most %d", n, maxText)
	}
	return l, nil
}
