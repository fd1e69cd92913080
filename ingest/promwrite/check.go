package promwrite

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/store"
)

// Reasons of rejections made here.
const (
	ReasonLabels    = "bad_labels"
	ReasonLimit     = "label_limit"
	ReasonHistogram = "bad_histogram"
)

// close ends a series: it is added to the batch, or its samples are counted as rejected.
func (d *Decoder) close(m marks, md metadata.Metadata) {
	samples, hists, exems := d.smp[m.smp:], d.hist[m.hist:], d.exem[m.exem:]
	n := len(samples) + len(hists)
	d.Received += n
	d.Exemplars += len(exems)
	if n+len(exems) == 0 {
		d.refs = d.refs[:m.refs]
		return
	}
	reason, why := d.checkLabels(m.refs)
	if reason != "" {
		d.reject(reason, n, why)
		clear(hists)
		d.refs, d.smp, d.hist, d.exem = d.refs[:m.refs], d.smp[:m.smp], d.hist[:m.hist], d.exem[:m.exem]
		return
	}
	// Clip keeps an append by the store from running into the next series.
	d.Batch.Series = append(d.Batch.Series, store.BatchSeries{
		LabelRefs:  d.refs[m.refs:len(d.refs):len(d.refs)],
		Samples:    slices.Clip(samples),
		Histograms: slices.Clip(hists),
		Exemplars:  slices.Clip(exems),
		Meta:       md,
	})
}

func (d *Decoder) reject(reason string, n int, example string) {
	for i := range d.Rejected {
		if d.Rejected[i].Reason == reason {
			d.Rejected[i].Count += n
			return
		}
	}
	d.Rejected = append(d.Rejected, store.Rejection{Reason: reason, Count: n, Example: example})
}

// checkLabels sorts the labels from d.refs[from:] when needed, leaves out empty ones (they mean
// the same as absent ones) and says why the set cannot be taken.
func (d *Decoder) checkLabels(from int) (reason, why string) {
	syms := d.Batch.Symbols
	refs := d.refs[from:]
	if n := len(refs) / 2; n > 2*d.lim.Labels {
		return ReasonLimit, fmt.Sprintf("%d labels are more than %d: %s", n, d.lim.Labels, d.show(refs))
	}
	named, sorted, hasEmpty := false, true, false
	prev := ""
	for i := 0; i < len(refs); i += 2 {
		n, v := refs[i], refs[i+1]
		if d.flags[n]&nameOK == 0 {
			if reason, why := d.checkName(n); reason != "" {
				return reason, why
			}
		}
		if d.flags[v]&valueOK == 0 {
			if reason, why := d.checkValue(n, v); reason != "" {
				return reason, why
			}
		}
		name := syms[n]
		if name <= prev && i > 0 {
			sorted = false
		}
		prev = name
		if syms[v] == "" {
			hasEmpty = true
		} else if name == "__name__" {
			named = true
		}
	}
	if !sorted {
		sortPairs(refs, syms)
		for i := 2; i < len(refs); i += 2 {
			if syms[refs[i]] == syms[refs[i-2]] {
				return ReasonLabels, fmt.Sprintf("label name %q is there twice in %s", clip(syms[refs[i]]), d.show(refs))
			}
		}
	}
	if hasEmpty {
		d.refs = d.refs[:from+dropEmpty(refs, syms)]
		refs = d.refs[from:]
	}
	if !named {
		return ReasonLabels, "no metric name: label __name__ is missing in " + d.show(refs)
	}
	if len(refs)/2 > d.lim.Labels {
		return ReasonLimit, fmt.Sprintf("%d labels are more than %d: %s", len(refs)/2, d.lim.Labels, d.show(refs))
	}
	return "", ""
}

func (d *Decoder) checkName(n uint32) (reason, why string) {
	s := d.Batch.Symbols[n]
	switch {
	case s == "":
		return ReasonLabels, "a label name is empty"
	case len(s) > d.lim.Name:
		return ReasonLimit, fmt.Sprintf("label name %q has %d bytes, more than %d", clip(s), len(s), d.lim.Name)
	case !utf8.ValidString(s):
		return ReasonLabels, fmt.Sprintf("label name %q is not UTF-8", clip(s))
	}
	d.flags[n] |= nameOK
	return "", ""
}

func (d *Decoder) checkValue(n, v uint32) (reason, why string) {
	s := d.Batch.Symbols[v]
	switch {
	case len(s) > d.lim.Value:
		return ReasonLimit, fmt.Sprintf("the value of label %q has %d bytes, more than %d: %q", clip(d.Batch.Symbols[n]), len(s), d.lim.Value, clip(s))
	case !utf8.ValidString(s):
		return ReasonLabels, fmt.Sprintf("the value of label %q is not UTF-8: %q", clip(d.Batch.Symbols[n]), clip(s))
	}
	d.flags[v] |= valueOK
	return "", ""
}

// sortPairs sorts (name, value) pairs by name; insertion sort, because they are few and nearly sorted.
func sortPairs(refs []uint32, syms []string) {
	for i := 2; i < len(refs); i += 2 {
		for j := i; j > 0 && syms[refs[j]] < syms[refs[j-2]]; j -= 2 {
			refs[j], refs[j-2] = refs[j-2], refs[j]
			refs[j+1], refs[j-1] = refs[j-1], refs[j+1]
		}
	}
}

func dropEmpty(refs []uint32, syms []string) int {
	k := 0
	for i := 0; i < len(refs); i += 2 {
		if syms[refs[i+1]] != "" {
			refs[k], refs[k+1] = refs[i], refs[i+1]
			k += 2
		}
	}
	return k
}

// show writes labels for a message; at most 500 bytes.
func (d *Decoder) show(refs []uint32) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; i+1 < len(refs) && b.Len() < 500; i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%q", clip(d.Batch.Symbols[refs[i]]), clip(d.Batch.Symbols[refs[i+1]]))
	}
	b.WriteByte('}')
	return b.String()
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strings.Clone(s)
}
