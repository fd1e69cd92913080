package soak

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/internal/cell"
)

const sampleName = "weir_soak_sample"

// sampleSeries are the series of a run; every batch holds one sample of each, with the number of the batch as value.
func sampleSeries(run string, n int) []*remotewrite.Series {
	out := make([]*remotewrite.Series, n)
	for i := range out {
		out[i] = remotewrite.NewSeries(labels.FromStrings(model.MetricNameLabel, sampleName, "run", run, "series", strconv.Itoa(i)), metadata.Metadata{Type: model.MetricTypeGauge})
	}
	return out
}

func encodeSamples(b *remotewrite.Batch, series []*remotewrite.Series, batch int, t int64) []byte {
	b.Reset()
	for _, s := range series {
		b.Add(s, t, 0, float64(batch))
	}
	return b.AppendTo(nil)
}

// traceID and spanID are found again from the run and the numbers alone.
func traceID(run, kind string, batch int) (id [16]byte) {
	s := fmt.Sprintf("%s/%s/%d", run, kind, batch)
	binary.BigEndian.PutUint64(id[:8], xxhash.Sum64String(s)|1)
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64String(s+"/low"))
	return id
}

func spanID(run, kind string, batch, i int) (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], xxhash.Sum64String(fmt.Sprintf("%s/%s/%d/%d", run, kind, batch, i))|1)
	return id
}

// encodeSpans makes an ExportTraceServiceRequest of one trace with n spans, the first of them the root.
func encodeSpans(run, kind string, batch, n int, now time.Time) []byte {
	trace := traceID(run, kind, batch)
	root := spanID(run, kind, batch, 0)
	var scope []byte
	for i := range n {
		id := spanID(run, kind, batch, i)
		var s []byte
		s = appendBytes(s, 1, trace[:])
		s = appendBytes(s, 2, id[:])
		if i > 0 {
			s = appendBytes(s, 4, root[:])
		}
		s = appendBytes(s, 5, []byte("soak "+strconv.Itoa(batch)))
		s = protowire.AppendVarint(protowire.AppendTag(s, 6, protowire.VarintType), 1)
		s = protowire.AppendFixed64(protowire.AppendTag(s, 7, protowire.Fixed64Type), uint64(now.UnixNano()))
		s = protowire.AppendFixed64(protowire.AppendTag(s, 8, protowire.Fixed64Type), uint64(now.UnixNano())+1_000_000)
		s = appendBytes(s, 9, keyValue("soak.run", run))
		scope = appendBytes(scope, 2, s)
	}
	resource := appendBytes(nil, 1, keyValue("service.name", "weir-soak"))
	return appendBytes(nil, 1, appendBytes(appendBytes(nil, 1, resource), 2, scope))
}

func keyValue(k, v string) []byte {
	return appendBytes(appendBytes(nil, 1, []byte(k)), 2, appendBytes(nil, 1, []byte(v)))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func pipelineOf(run string) string { return "weir-soak-" + run }

func stageOf(i int) string { return "stage-" + strconv.Itoa(i) }

// encodeCells makes snapshot number batch of the cells of one window, each counting n messages so far.
func encodeCells(head entry, batch int, window int64, stages, n int) ([]byte, error) {
	b := cell.Batch{Auditor: cell.Auditor{Node: "weir-soak", Epoch: head.Epoch, Seq: uint64(batch), At: time.Now().UnixMilli(), FlushMS: 1000}}
	for i := range stages {
		b.Cells = append(b.Cells, cell.Cell{
			Key:      cell.Key{Pipeline: pipelineOf(head.Run), Stage: stageOf(i), Dir: cell.Out, Destination: "soak", Window: window, Width: 60},
			Instance: "weir-soak", Node: "weir-soak", Epoch: head.Epoch, Seq: uint64(batch), Counts: cell.Counts{N: uint64(n)},
		})
	}
	out, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("cannot encode cells: %w", err)
	}
	return out, nil
}
