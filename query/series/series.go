// Package series reads single series by name: samples come from a querier of the store, and go to a function of the caller, one by one.
package series

import (
	"context"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// floatSample is the kind of a plain sample in an iterator (chunkenc.ValFloat), whose package has its home in the engine.
const floatSample = 1

// Each calls f with every float sample of the series called name in [from, to], series by series, oldest
// first. Stale markers and NaN are left out. begin is called before the samples of a series; when it
// returns false the series is left out.
func Each(ctx context.Context, q storage.Querier, name string, begin func(labels.Labels) bool, f func(at int64, v float64), more ...*labels.Matcher) error {
	ms := append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}, more...)
	set := q.Select(ctx, false, nil, ms...)
	for set.Next() {
		series := set.At()
		if !begin(series.Labels()) {
			continue
		}
		it := series.Iterator(nil)
		for {
			kind := it.Next()
			if kind == 0 {
				break
			}
			if kind != floatSample {
				continue
			}
			if at, v := it.At(); !math.IsNaN(v) {
				f(at, v)
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}
