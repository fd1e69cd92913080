package telemetry

import (
	"cmp"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/store"
)

// CollectorRows are the collectors that ingest heard of, and those whose auditors count; by node. silent are the nodes whose auditors
// are, epochs the newest begins of auditors, Unix milliseconds, versions those of the collectors' own series. now is in Unix milliseconds.
func CollectorRows(heard []Collector, silent map[string]bool, epochs map[string]int64, versions map[string]string, now int64) []answer.CollectorRow {
	out := []answer.CollectorRow{}
	known := map[string]bool{}
	for _, c := range heard {
		known[c.Node] = true
		r := answer.CollectorRow{Node: c.Node, State: answer.OK, LastSeen: c.LastSeen, Epoch: c.Epoch, Gaps: c.Gaps, Version: cmp.Or(c.Version, versions[c.Node])}
		if silent[c.Node] || now-c.LastSeen > brokers.StaleAfter {
			r.State = answer.Unknown
		}
		out = append(out, r)
	}
	for n := range epochs {
		if known[n] {
			continue
		}
		r := answer.CollectorRow{Node: n, State: answer.OK, Epoch: epochs[n], Version: versions[n]}
		if silent[n] {
			r.State = answer.Unknown
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b answer.CollectorRow) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// StoreRows are the sizes of the store. now is in Unix milliseconds.
func StoreRows(st store.Stats, now int64) []answer.StoreRow {
	rows := []answer.StoreRow{
		{Name: "series", Value: float64(st.Series), Unit: "series"},
		{Name: "samples", Value: float64(st.Samples), Unit: "samples"},
		{Name: "spans", Value: float64(st.Spans), Unit: "spans"},
		{Name: "metrics on disk", Value: float64(st.MetricBytes), Unit: "bytes"},
		{Name: "spans on disk", Value: float64(st.SpanBytes), Unit: "bytes"},
		{Name: "ledger on disk", Value: float64(st.LedgerBytes), Unit: "bytes"},
		{Name: "disk free", Value: float64(st.DiskFree), Unit: "bytes"},
		{Name: "disk size", Value: float64(st.DiskTotal), Unit: "bytes"},
	}
	if !st.OldestSample.IsZero() {
		rows = append(rows, answer.StoreRow{Name: "oldest sample", Value: math.Max(0, float64(now-st.OldestSample.UnixMilli())/1000), Unit: "seconds"})
	}
	return rows
}
