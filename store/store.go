// Package store is the contract between weir and its storage engines: Metrics, Spans, Ledger, Catalog.
//
// Data comes from ingest (appends) and from query (verdicts), and goes to query, alerts and dashboards.
// An engine lives in a folder of its own (store/local, store/clickhouse) and passes store/storetest.
// A nil error from an append means the data is on disk: it survives kill -9 and a power cut.
// Appends are idempotent: the same sample, span or cell twice changes nothing.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/internal/cell"
)

// Tenant separates the data of one customer from that of another. Every call takes one.
type Tenant string

// DefaultTenant is used where no authentication is configured.
const DefaultTenant Tenant = "default"

// Kinds of errors that an engine returns, wrapped with %w. HTTP codes are chosen at the border only.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("version conflict")
	ErrUnavailable = errors.New("store unavailable") // disk full, shutting down: the sender retries
	ErrLimit       = errors.New("limit reached")
	ErrInvalid     = errors.New("invalid")
)

// Engine is the whole of a storage engine.
type Engine interface {
	Metrics() Metrics
	Spans() Spans
	Ledger() Ledger
	Catalog() Catalog
	// Stats reports sizes and limits for the Self page.
	Stats(ctx context.Context) (Stats, error)
	// Run does background work (retention, compaction) until ctx ends, then flushes and closes everything.
	Run(ctx context.Context) error
}

// Stats are the sizes of an engine.
type Stats struct {
	Series, Samples     uint64
	Spans, SpanBlocks   uint64
	MetricBytes         uint64
	SpanBytes           uint64
	LedgerBytes         uint64
	DiskFree, DiskTotal uint64
	OldestSample        time.Time // zero when empty
}

// Metrics stores samples.
type Metrics interface {
	// Append makes a batch durable. Strings and slices of b are only valid during the call.
	// Samples that cannot be taken (too old, in the future, malformed labels) are counted in the
	// result by reason and do not keep the others out; err is for the batch as a whole.
	Append(ctx context.Context, t Tenant, b *MetricBatch) (AppendResult, error)
	// Querier reads [mint, maxt], Unix milliseconds, both inclusive.
	Querier(t Tenant, mint, maxt int64) (storage.Querier, error)
	// Exemplars may return nil when the engine keeps none.
	Exemplars(ctx context.Context, t Tenant) (storage.ExemplarQuerier, error)
	// Metadata returns type, help and unit by metric name; metric "" means all, limit 0 means no limit.
	Metadata(ctx context.Context, t Tenant, metric string, limit int) (map[string]metadata.Metadata, error)
}

// MetricBatch is a decoded write request. Its shape follows remote write 2.0: labels are
// references into Symbols, which need not be unique.
type MetricBatch struct {
	Symbols []string
	Series  []BatchSeries
}

// BatchSeries is one series of a MetricBatch.
type BatchSeries struct {
	LabelRefs  []uint32 // name, value, name, value …; sorted by name
	Samples    []Sample
	Histograms []HistogramSample
	Exemplars  []Exemplar
	Meta       metadata.Metadata // zero when the sender gave none
}

// Sample is a float sample. T and Start are Unix milliseconds; Start 0 means unknown.
type Sample struct {
	T, Start int64
	V        float64
}

// HistogramSample is a native histogram sample; exactly one of H and FH is set.
type HistogramSample struct {
	T, Start int64
	H        *histogram.Histogram
	FH       *histogram.FloatHistogram
}

// Exemplar is a sample that points to a trace.
type Exemplar struct {
	LabelRefs []uint32
	T         int64
	V         float64
}

// AppendResult tells what an append took. Received = Samples+Histograms+Rejected, exactly
// (exemplars are counted apart).
type AppendResult struct {
	Samples, Histograms, Exemplars int
	NewSeries                      int
	Rejected                       []Rejection
}

// Rejection counts samples that were not taken, with one example to show.
type Rejection struct {
	Reason  string // too_old, too_new, duplicate_value, bad_labels, bad_histogram, series_limit
	Count   int
	Example string // the series and why, for the sender's log
}

// TraceID is that of W3C trace context.
type TraceID [16]byte

// SpanID is that of W3C trace context.
type SpanID [8]byte

// SpanKind has the numbers of OTLP.
type SpanKind uint8

// SpanStatus has the numbers of OTLP.
type SpanStatus uint8

// Span kinds and states, numbered as in OTLP.
const (
	KindUnspecified SpanKind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// Span states, numbered as in OTLP.
const (
	StatusUnset SpanStatus = iota
	StatusOK
	StatusError
)

// String is the kind as searches and answers write it.
func (k SpanKind) String() string {
	switch k {
	case KindInternal:
		return "internal"
	case KindServer:
		return "server"
	case KindClient:
		return "client"
	case KindProducer:
		return "producer"
	case KindConsumer:
		return "consumer"
	case KindUnspecified:
	}
	return "unspecified"
}

// String is the state as searches and answers write it.
func (s SpanStatus) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusError:
		return "error"
	case StatusUnset:
	}
	return "unset"
}

// Span is one stored span. Service, Node and Container are taken out of the resource because every view asks for them.
type Span struct {
	Trace      TraceID
	ID, Parent SpanID
	Start      int64 // Unix nanoseconds
	Duration   int64 // nanoseconds, never negative
	Service    string
	Node       string
	Container  string
	Name       string
	Scope      string
	Kind       SpanKind
	Status     SpanStatus
	StatusMsg  string
	TraceState string
	Resource   []Attr // without service.name, host.name, container.id
	Attrs      []Attr
	Events     []SpanEvent
	Links      []SpanLink
	Dropped    uint32 // attributes, events and links the sender dropped
}

// SpanEvent is something that happened during a span.
type SpanEvent struct {
	Time  int64 // Unix nanoseconds
	Name  string
	Attrs []Attr
}

// SpanLink points to a span of another trace, or of the same.
type SpanLink struct {
	Trace TraceID
	Span  SpanID
	Attrs []Attr
}

// AttrKind is the type of an attribute's value.
type AttrKind uint8

// Attribute types. Arrays, maps and bytes are kept as JSON text in Str.
const (
	AttrString AttrKind = iota
	AttrInt
	AttrFloat
	AttrBool
	AttrJSON
)

// Attr is a key with a typed value: Str for AttrString and AttrJSON, Num otherwise
// (int64 bits, float64 bits, 0 or 1).
type Attr struct {
	Key  string
	Kind AttrKind
	Str  string
	Num  uint64
}

// Spans stores spans.
type Spans interface {
	// Append makes spans durable. The slice and its strings are only valid during the call.
	Append(ctx context.Context, t Tenant, spans []Span) error
	// Trace returns all spans of a trace by start time, each once. ErrNotFound when there is none.
	Trace(ctx context.Context, t Tenant, id TraceID) ([]Span, error)
	// Search returns the newest matching traces first.
	Search(ctx context.Context, t Tenant, q SpanQuery) ([]TraceSummary, error)
	// TagNames and TagValues list what can be searched for, sorted, at most limit.
	TagNames(ctx context.Context, t Tenant, from, to time.Time, limit int) ([]string, error)
	TagValues(ctx context.Context, t Tenant, tag string, from, to time.Time, limit int) ([]string, error)
}

// SpanQuery selects traces that hold at least one span for which everything named is true.
// Empty fields select nothing in particular.
type SpanQuery struct {
	From, To                 time.Time
	Service, Name            string
	Status                   SpanStatus // StatusUnset = any
	MinDuration, MaxDuration time.Duration
	Attrs                    map[string]string // equal as text, span or resource attributes; also node, container
	Limit                    int               // of traces; 0 = 20
}

// TraceSummary is one line of a search result.
type TraceSummary struct {
	Trace       TraceID
	RootService string
	RootName    string
	Start       int64 // Unix nanoseconds
	Duration    int64 // nanoseconds from the first start to the last end
	Spans       int
	Errors      int
	Services    []string
}

// Ledger stores audit cells, what joined spans say, offset barriers and verdicts.
type Ledger interface {
	// PutCells takes a batch as a whole; of equal (key, instance, epoch) the highest Seq stays.
	PutCells(ctx context.Context, t Tenant, b cell.Batch) error
	// Cells returns the cells of windows that start in [From, To), sorted by key, instance, epoch.
	Cells(ctx context.Context, t Tenant, q CellQuery) ([]cell.Cell, error)
	// Late returns the windows that got cells since a time, later than LateAfter after they began. Sorted; each once.
	Late(ctx context.Context, t Tenant, since time.Time) ([]LateWindow, error)
	// Auditors returns the newest record of every (node, epoch) that was heard of since.
	Auditors(ctx context.Context, t Tenant, since time.Time) ([]cell.Auditor, error)
	// PutBarriers keeps the first barrier of each key; later ones are ignored.
	PutBarriers(ctx context.Context, t Tenant, b []Barrier) error
	Barriers(ctx context.Context, t Tenant, from, to time.Time) ([]Barrier, error)
	// PutPairs takes what joined spans say; of equal (key, instance, epoch) the highest Seq stays.
	PutPairs(ctx context.Context, t Tenant, ps []cell.Pair) error
	// Pairs returns those of windows that start in [from, to), sorted by key, instance, epoch.
	Pairs(ctx context.Context, t Tenant, from, to time.Time) ([]cell.Pair, error)
	// PutVerdicts replaces verdicts of the same key; Revision grows by one when State or Lost change.
	PutVerdicts(ctx context.Context, t Tenant, v []Verdict) error
	// Verdicts returns those of windows that start in [From, To), sorted by key and window.
	Verdicts(ctx context.Context, t Tenant, q VerdictQuery) ([]Verdict, error)
}

// LateAfter is how long after its begin the cells of a window are late: whoever reads the newest windows again and
// again need not look further back than this, and asks Late for the rest.
const LateAfter = 15 * time.Minute

// LateWindow is an event window of a pipeline to which cells came late.
type LateWindow struct {
	Pipeline      string
	Window, Width int64 // Unix seconds, seconds
}

// CellQuery selects cells. Pipeline "" means all. Ids and latencies, which are large, come only with cells of windows that
// start at SamplesFrom or later; the zero time means with all.
type CellQuery struct {
	Pipeline    string
	From, To    time.Time
	SamplesFrom time.Time
}

// Barrier is the end offset of a partition at the first poll after a window was complete on the
// producers' side: once a group has committed it, nothing of the window is in flight.
type Barrier struct {
	System, Cluster, Destination, Partition string
	Window, Width                           int64 // Unix seconds, seconds
	Offset                                  int64
	At                                      int64 // time of the poll, Unix milliseconds
}

// EdgeKind tells the two balances of the model apart.
type EdgeKind string

// Transport compares what one stage put out with what the next took in; balance compares in and out of one stage.
const (
	EdgeTransport EdgeKind = "transport"
	EdgeBalance   EdgeKind = "balance"
)

// VerdictKey names one balance.
type VerdictKey struct {
	Pipeline    string   `json:"pipeline"`
	Kind        EdgeKind `json:"kind"`
	From        string   `json:"from"` // upstream stages joined by ","; the stage itself for a balance
	Destination string   `json:"destination"`
	Group       string   `json:"group"`
	To          string   `json:"to"`     // downstream stage; the stage itself for a balance
	Window      int64    `json:"window"` // Unix seconds
	Width       int64    `json:"width"`  // seconds
}

// Verdict is the settled or provisional result of one balance in one event window (pipeline-model.md 3.4).
type Verdict struct {
	VerdictKey
	State      string   `json:"state"` // OK, IN_FLIGHT, LATE, LOSS, PROBABLE_LOSS, DUPLICATES, MIXED, SKIPPED, RETENTION_LOSS, FILTERED, ANOMALY, UNKNOWN
	Settled    bool     `json:"settled"`
	Up         int64    `json:"up"`        // U: put out upstream; in for a balance
	Down       int64    `json:"down"`      // D: taken in downstream; out for a balance
	Explained  int64    `json:"explained"` // X: retention, declared drops, dead letters
	Filtered   int64    `json:"filtered"`
	DLQ        int64    `json:"dlq"`
	Dropped    int64    `json:"dropped"` // by the stage, with a reason
	Redeliver  int64    `json:"redelivered"`
	InFlight   int64    `json:"in_flight"`
	Delta      int64    `json:"delta"`
	Epsilon    int64    `json:"epsilon"` // error bound in records
	Lost       int64    `json:"lost"`
	Surplus    int64    `json:"surplus"`
	Level      string   `json:"level"`      // L0, L1, L2, L3, T
	Confidence float64  `json:"confidence"` // 0..1
	Class      string   `json:"class"`      // dropped in stage, retention, skipped, duplicated, auditor silent …
	Reasons    []string `json:"reasons"`    // sentences that say why
	Examples   []string `json:"examples"`   // message or trace ids
	SettledAt  int64    `json:"settled_at"` // Unix milliseconds, 0 while open
	UpdatedAt  int64    `json:"updated_at"`
	Revision   int      `json:"revision"`
}

// VerdictQuery selects verdicts. Pipeline "" means all.
type VerdictQuery struct {
	Pipeline    string
	From, To    time.Time
	OnlyNotOK   bool // leaves out OK and FILTERED, and is fast however many of those there are
	OnlySettled bool
}

// Catalog stores named documents (dashboards, rules, silences, tokens, SLOs) with versions.
type Catalog interface {
	// Get returns the newest version, ErrNotFound when there is none.
	Get(ctx context.Context, t Tenant, kind, name string) (Document, error)
	List(ctx context.Context, t Tenant, kind string) ([]Document, error)
	// Put stores body as the next version. expect is the version the writer read, 0 for a new
	// document, -1 for whatever is there; ErrConflict when it is not the newest.
	Put(ctx context.Context, t Tenant, kind, name string, body []byte, expect int64, by string) (Document, error)
	Delete(ctx context.Context, t Tenant, kind, name string) error
	// History returns all kept versions, newest first.
	History(ctx context.Context, t Tenant, kind, name string) ([]Document, error)
}

// Document is one version of a named document.
type Document struct {
	Kind, Name string
	Version    int64
	Body       []byte
	By         string
	At         time.Time
}

// LabelsOf builds the labels of a batch's series; used where a series is new.
func (b *MetricBatch) LabelsOf(s *BatchSeries, sb *labels.ScratchBuilder) labels.Labels {
	sb.Reset()
	for i := 0; i+1 < len(s.LabelRefs); i += 2 {
		sb.Add(b.Symbols[s.LabelRefs[i]], b.Symbols[s.LabelRefs[i+1]])
	}
	return sb.Labels()
}
