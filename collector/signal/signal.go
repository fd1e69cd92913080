// Package signal names what the collector's parts hand to its spool: encoded requests of four kinds.
//
// Receivers and pollers encode a batch once and give it to an Output; the spool keeps it on disk and
// ship delivers the same bytes to the server's door for that kind.
package signal

import "context"

// Kind is the kind of a request body.
type Kind uint8

// Kinds. The numbers are written to disk.
const (
	Samples Kind = 1 // remote write 2.0
	Spans   Kind = 2 // OTLP ExportTraceServiceRequest
	Points  Kind = 3 // OTLP ExportMetricsServiceRequest
	Cells   Kind = 4 // JSON cell.Batch
)

// String returns the name used in metric labels.
func (k Kind) String() string {
	switch k {
	case Samples:
		return "samples"
	case Spans:
		return "spans"
	case Points:
		return "points"
	case Cells:
		return "cells"
	default:
		return "unknown"
	}
}

// Output takes an encoded, uncompressed request of items things. A nil error means it is on disk.
// Nothing of body is kept after the call.
type Output interface {
	Append(ctx context.Context, k Kind, items int, body []byte) error
}
