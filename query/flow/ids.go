package flow

import (
	"math"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// maxSumIDs bounds the sample of a sum over instances.
const maxSumIDs = 16 * cell.MaxIDs

// Sample merges the id samples of a sum; nil unless every record counted was sampled.
func (s *Sum) Sample() *cell.IDs {
	out := &cell.IDs{M: cell.MinM}
	for _, ids := range s.ids {
		out.MergeUpTo(ids, maxSumIDs)
	}
	if out.Of != s.N || out.Void() {
		return nil
	}
	return out
}

// CompareSamples estimates loss and duplication from the samples of both sides, at the coarser of their moduli. An id that upstream
// counted several times is expected as often; ids that upstream does not know are Foreign.
func CompareSamples(up, down *cell.IDs) IDSample {
	var s IDSample
	m := max(up.M, down.M, cell.MinM)
	us, ds := up.Coarser(m), down.Coarser(m)
	var missing []uint64
	for len(us) > 0 || len(ds) > 0 {
		switch {
		case len(ds) == 0 || len(us) > 0 && us[0].Hash < ds[0].Hash:
			s.Upstream = add(s.Upstream, int64(us[0].Times))
			s.Missing = add(s.Missing, int64(us[0].Times))
			missing = append(missing, us[0].Hash)
			us = us[1:]
		case len(us) == 0 || ds[0].Hash < us[0].Hash:
			s.Foreign = add(s.Foreign, int64(ds[0].Times))
			ds = ds[1:]
		default:
			u, d := int64(us[0].Times), int64(ds[0].Times)
			s.Upstream = add(s.Upstream, u)
			if d < u {
				s.Missing = add(s.Missing, u-d)
				missing = append(missing, us[0].Hash)
			}
			s.Extra = add(s.Extra, max(d-u, 0))
			us, ds = us[1:], ds[1:]
		}
	}
	s.Examples = examples(up, missing)
	s.Loss = Wilson(s.Missing, s.Upstream)
	s.Dup = Wilson(s.Extra, s.Upstream)
	return s
}

const maxExamples = 10

// examples shows some of the ids, first those whose text is known.
func examples(of *cell.IDs, hashes []uint64) []string {
	var out, rest []string
	for _, h := range hashes {
		text, known := of.Show(h)
		switch {
		case known && len(out) < maxExamples:
			out = append(out, text)
		case !known && len(rest) < maxExamples:
			rest = append(rest, text)
		}
	}
	return append(out, rest[:min(len(rest), maxExamples-len(out))]...)
}

// sampled compares the ids of both sides of a balance in the window at hand; nil where they prove nothing: not every record was
// sampled, some are repeated on purpose, or the stage gives new ids.
func (s *settler) sampled(v *view, ev *Evidence, up, down *Sum) *IDSample {
	if ev.Explained > 0 || up.N == 0 {
		return nil
	}
	if ev.Kind == store.EdgeBalance {
		if ev.Ratio.Kind != RatioMap || ev.Redelivered > 0 {
			return nil
		}
		for _, d := range [...]cell.Dir{cell.Filtered, cell.DLQ, cell.Dropped} { // they left on purpose, but they are not missing
			side := s.side(v.stage.Name, d)
			down.merge(side)
		}
	}
	u, d := up.Sample(), down.Sample()
	if u == nil || d == nil || len(u.IDs) == 0 {
		return nil
	}
	c := CompareSamples(u, d)
	if ev.Kind == store.EdgeBalance && !ev.IDsKept && !keepsIDs(c) {
		return nil
	}
	return &c
}

// keepsIDs says whether ids alone show that a stage passes them on: nine of ten that come out went in. Hashes of 64 bits do not
// meet by chance.
func keepsIDs(c IDSample) bool {
	met := sub(c.Upstream, c.Missing)
	return met >= minMet && float64(c.Foreign) <= 0.1*math.Max(float64(met), 1)
}

// minMet is how many ids must be seen on both sides before a stage is believed to keep them.
const minMet = 3
