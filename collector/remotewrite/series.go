// Package remotewrite encodes samples as io.prometheus.write.v2.Request (remote write 2.0).
//
// Receivers and pollers of the collector prepare a Series once per time series and add samples of it to a Batch;
// the bytes of the batch go to the spool and from there, unchanged but for compression, to any remote-write store.
package remotewrite

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// Series is one time series, prepared once and reused for every sample. It remembers where its strings lie in the
// dictionary of the batch it was last added to, so that adding a sample hashes nothing. A series must not
// be added to two batches at the same time; moving it between batches is right but costs a look-up per string.
type Series struct {
	own        *description // nil = a dictionary has the strings
	home       *home
	ids        []uint32 // dictionary numbers: name, value, name, value, …, then help and unit where there is one
	refs       uint32   // how many of them are label names and values
	kind       uint8    // Metadata.MetricType
	help, unit bool     // there is one
	lean       bool     // gives own up
}

type description struct {
	labels     labels.Labels
	help, unit string
}

// NewSeries prepares a series. Labels must be sorted, as labels.Labels are; the series keeps them.
func NewSeries(ls labels.Labels, m metadata.Metadata) *Series {
	return &Series{
		own:  &description{labels: ls, help: m.Help, unit: m.Unit},
		refs: uint32(2 * ls.Len()), help: m.Help != "", unit: m.Unit != "", kind: metricType(m.Type),
	}
}

// NewLeanSeries prepares a series whose strings are kept by the batch it is added to, once for all series that have
// them, and not by itself: a third of the memory. Labels then costs a copy, and must not be called while the series is added.
func NewLeanSeries(ls labels.Labels, m metadata.Metadata) *Series {
	s := NewSeries(ls, m)
	s.lean = true
	return s
}

// Labels returns the labels the series was made with.
func (s *Series) Labels() labels.Labels {
	if s.own != nil {
		return s.own.labels
	}
	b := labels.NewScratchBuilder(int(s.refs) / 2)
	texts := s.home.texts(s.ids[:s.refs])
	for i := 0; i+1 < len(texts); i += 2 {
		b.Add(texts[i], texts[i+1])
	}
	return b.Labels()
}

// LabelCount returns how many labels the series has, at less cost than Labels.
func (s *Series) LabelCount() int { return int(s.refs) / 2 }

func metricType(t model.MetricType) uint8 {
	switch t {
	case model.MetricTypeCounter:
		return 1
	case model.MetricTypeGauge:
		return 2
	case model.MetricTypeHistogram:
		return 3
	case model.MetricTypeGaugeHistogram:
		return 4
	case model.MetricTypeSummary:
		return 5
	case model.MetricTypeInfo:
		return 6
	case model.MetricTypeStateset:
		return 7
	default:
		return 0
	}
}
