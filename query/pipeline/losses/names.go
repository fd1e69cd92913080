package losses

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// ID is the id of a balance and its row; KeyOf reads it back.
func ID(k store.VerdictKey) string {
	parts := []string{k.Pipeline, string(k.Kind), k.From, k.Destination, k.Group, k.To}
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "~", "%7E")
	}
	return strings.Join(parts, "~")
}

// KeyOf reads the id of a row: the key of its balance, without window.
func KeyOf(id string) (k store.VerdictKey, ok bool) {
	parts := strings.Split(id, "~")
	if len(parts) != 6 {
		return k, false
	}
	for i := range parts {
		s, err := url.QueryUnescape(parts[i])
		if err != nil {
			return k, false
		}
		parts[i] = s
	}
	return store.VerdictKey{Pipeline: parts[0], Kind: store.EdgeKind(parts[1]), From: parts[2], Destination: parts[3], Group: parts[4], To: parts[5]}, true
}

// Where names a balance: the stage, or the way from stage over queue to stage.
func Where(k store.VerdictKey) string {
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

// IncidentID names a run: its balance, its kind and its first window.
func IncidentID(k store.VerdictKey, r *flow.Run) string {
	return ID(k) + "~" + string(r.Kind) + "~" + strconv.FormatInt(r.First, 10)
}

// IncidentKey reads the id of an incident: its balance, its kind and its first window, Unix seconds.
func IncidentKey(id string) (k store.VerdictKey, kind flow.RunKind, first int64, ok bool) {
	head, last, ok1 := cutLast(id)
	head, what, ok2 := cutLast(head)
	k, ok3 := KeyOf(head)
	first, err := strconv.ParseInt(last, 10, 64)
	kind = flow.RunKind(what)
	return k, kind, first, ok1 && ok2 && ok3 && err == nil && (kind == flow.RunLoss || kind == flow.RunUnknown)
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '~')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
