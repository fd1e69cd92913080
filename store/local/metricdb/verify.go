package metricdb

import (
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/weirhq/weir/store"
)

// verify reads back what was given, when the TSDB took fewer samples than that: it drops repetitions
// without a word, be they equal to what is stored (fine, they are counted as stored) or not (rejected).
// This happens when a batch holds a time twice, out of order.
func (a *batchAppend) verify() error {
	for k := 0; k < len(a.given); {
		i := a.given[k].series
		end := k
		mint, maxt := int64(math.MaxInt64), int64(math.MinInt64)
		for ; end < len(a.given) && a.given[end].series == i; end++ {
			t := a.timeOf(a.given[end])
			mint, maxt = min(mint, t), max(maxt, t)
		}
		stored, err := a.read(i, mint, maxt)
		if err != nil {
			return fmt.Errorf("cannot verify what was stored: %w", err)
		}
		for ; k < end; k++ {
			a.settle(a.given[k], stored)
		}
	}
	return nil
}

// settle corrects the result by what is really stored.
func (a *batchAppend) settle(g given, stored map[int64]point) {
	t := a.timeOf(g)
	p, ok := stored[t]
	if ok && a.equal(g, p) {
		return
	}
	if g.histogram {
		a.res.Histograms--
	} else {
		a.res.Samples--
	}
	reason, why := duplicate, fmt.Errorf("time %d has another value", t)
	if !ok {
		reason, why = tooOld, fmt.Errorf("time %d was not taken", t)
	}
	a.reject(reason, int(g.series), 1, why)
}

func (a *batchAppend) timeOf(g given) int64 {
	s := &a.b.Series[g.series]
	if g.histogram {
		return s.Histograms[g.sample].T
	}
	return s.Samples[g.sample].T
}

// point is a stored sample.
type point struct {
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (a *batchAppend) equal(g given, p point) bool {
	s := &a.b.Series[g.series]
	if !g.histogram {
		v := s.Samples[g.sample].V
		switch {
		case p.h != nil:
			return value.IsStaleNaN(v) && value.IsStaleNaN(p.h.Sum)
		case p.fh != nil:
			return value.IsStaleNaN(v) && value.IsStaleNaN(p.fh.Sum)
		}
		return math.Float64bits(v) == math.Float64bits(p.v)
	}
	x := s.Histograms[g.sample]
	switch {
	case x.H != nil && p.h != nil:
		// A stored stale marker keeps nothing but the mark.
		return value.IsStaleNaN(x.H.Sum) && value.IsStaleNaN(p.h.Sum) || x.H.Copy().Compact(0).Equals(p.h.Compact(0))
	case x.FH != nil && p.fh != nil:
		return value.IsStaleNaN(x.FH.Sum) && value.IsStaleNaN(p.fh.Sum) || x.FH.Copy().Compact(0).Equals(p.fh.Compact(0))
	}
	return false
}

// read returns the stored samples of a series by time.
func (a *batchAppend) read(series int32, mint, maxt int64) (map[int64]point, error) {
	want := a.labels(a.b.Series[series].LabelRefs)
	var ms []*labels.Matcher
	want.Range(func(l labels.Label) {
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	q, err := a.h.db.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	out := map[int64]point{}
	set := q.Select(a.ctx, false, &storage.SelectHints{Start: mint, End: maxt}, ms...)
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		if !labels.Equal(s.Labels(), want) {
			continue
		}
		it = s.Iterator(it)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			switch vt {
			default: // none
			case chunkenc.ValFloat:
				t, v := it.At()
				out[t] = point{v: v}
			case chunkenc.ValHistogram:
				t, h := it.AtHistogram(nil)
				out[t] = point{h: h}
			case chunkenc.ValFloatHistogram:
				t, fh := it.AtFloatHistogram(nil)
				out[t] = point{fh: fh}
			}
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

var errNoTenant = errors.New("tenant name must have 1 to 128 bytes")

// tenantDir makes a folder name of a tenant: letters, digits, "_" and "-" stay, other bytes become %XX.
func tenantDir(t store.Tenant) (string, error) {
	if t == "" || len(t) > 128 {
		return "", fmt.Errorf("cannot use tenant %.140q: %w: %w", string(t), errNoTenant, store.ErrInvalid)
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(t))
	for i := range len(t) {
		c := t[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	if len(out) > 250 {
		return "", fmt.Errorf("cannot use tenant %.140q: too many bytes that are not letters, digits, _ or -: %w: %w", string(t), errNoTenant, store.ErrInvalid)
	}
	return string(out), nil
}

// tenantOf is the reverse of tenantDir.
func tenantOf(dir string) (store.Tenant, bool) {
	out := make([]byte, 0, len(dir))
	for i := 0; i < len(dir); i++ {
		if dir[i] != '%' {
			out = append(out, dir[i])
			continue
		}
		var c byte
		if i+2 >= len(dir) {
			return "", false
		}
		if _, err := fmt.Sscanf(dir[i+1:i+3], "%02X", &c); err != nil {
			return "", false
		}
		out = append(out, c)
		i += 2
	}
	back, err := tenantDir(store.Tenant(out))
	return store.Tenant(out), err == nil && back == dir
}
