// Package cell defines the audit cell: how many records of one event-time window
// a stage took in, put out, filtered or dropped.
//
// Cells are counted in collectors (from DogStatsD increments, OTLP sums and spans),
// travel as cumulative snapshots in the body of /api/v1/audit, lie in store.Ledger,
// and are compared with each other by query/flow. They are never time series.
package cell

import "cmp"

// Dir says what a cell counts. The names are those of the wire form weir.audit.<dir>.
type Dir string

// Directions of the counting contract (docs/pipeline-model.md 3.1).
const (
	In       Dir = "in"       // handed to the stage's code
	Out      Dir = "out"      // acknowledged by the next hop
	Filtered Dir = "filtered" // left out on purpose
	Dropped  Dir = "dropped"  // given up by the stage, with a reason
	DLQ      Dir = "dlq"      // put into a dead-letter destination
	Failed   Dir = "failed"   // tried and failed, not yet decided
	Retried  Dir = "retried"  // tried again; out counts the message once
	Covers   Dir = "covers"   // members of batches put out
)

// Dirs lists every direction in the order in which they are shown.
func Dirs() []Dir { return []Dir{In, Out, Filtered, Dropped, DLQ, Failed, Retried, Covers} }

// Directions that collectors count from messaging spans. They are no part of a stage's own counts, which are preferred:
// query/flow takes them only where an application does not count itself.
const (
	SpanOut      Dir = "span_out"      // put out
	SpanIn       Dir = "span_in"       // processed
	SpanReceived Dir = "span_received" // fetched; the same messages as SpanIn where both are counted
	SpanAcked    Dir = "span_acked"    // settled
	SpanFailed   Dir = "span_failed"   // not put out
)

// SpanDirs lists the directions counted from spans.
func SpanDirs() []Dir { return []Dir{SpanOut, SpanIn, SpanReceived, SpanAcked, SpanFailed} }

// Unflushed cells are no counts but a bound: how many records, in or out, of a window a sender may have counted and not told
// when it ended without a last word. Collectors make them, one per end: Instance names it, MaxTS is when the sender had last
// told everything, Unix milliseconds. N is 0 again when the sender turns out to be alive.
const Unflushed Dir = "unflushed"

// Reasons of an Unflushed cell.
const (
	Killed = "killed" // the sender tells when it stops, and did not
	Silent = "silent" // the sender never tells: it may as well have stopped in order
	Folded = "folded" // the sender goes on, but of what it counts only the number comes: its SDK folded the keys into one
)

// SpanPipeline stands for the pipeline in counts of spans that name none: the topology tells which one it is.
const SpanPipeline = "(spans)"

// Key names what is counted, wherever it is counted. Two keys that are equal add up.
type Key struct {
	Pipeline    string `json:"pipeline"`
	Stage       string `json:"stage"`
	Dir         Dir    `json:"dir"`
	Destination string `json:"destination,omitempty"` // read (in) or written (out)
	Group       string `json:"group,omitempty"`       // consumer group, only on in
	Reason      string `json:"reason,omitempty"`      // only on dropped and unflushed
	Window      int64  `json:"window"`                // start of the event window, Unix seconds; 0 = no event time (notime)
	Width       int64  `json:"width"`                 // length of the event window, seconds
}

// Compare orders keys by pipeline, stage, direction, destination, group, reason, window, width.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		cmp.Compare(k.Pipeline, o.Pipeline), cmp.Compare(k.Stage, o.Stage), cmp.Compare(k.Dir, o.Dir),
		cmp.Compare(k.Destination, o.Destination), cmp.Compare(k.Group, o.Group), cmp.Compare(k.Reason, o.Reason),
		cmp.Compare(k.Window, o.Window), cmp.Compare(k.Width, o.Width),
	)
}

// Counts are the additive figures of a cell. Fingerprints are sums modulo 2^64 and xors
// of the 64-bit message hashes, so two sides hold the same multiset of messages
// (up to a hash collision) when count, FpSum and FpXor agree.
type Counts struct {
	N       uint64 `json:"n"`
	Bytes   uint64 `json:"bytes,omitempty"`
	FpSum   uint64 `json:"fp_sum,omitempty,string"`
	FpXor   uint64 `json:"fp_xor,omitempty,string"`
	Hashed  uint64 `json:"hashed,omitempty"`   // how many of N went into the fingerprints
	LateMax int64  `json:"late_max,omitempty"` // largest (arrival - window end) seen, milliseconds
	MaxTS   int64  `json:"max_ts,omitempty"`   // newest event time seen, Unix milliseconds; 0 = not known
}

// Add adds o to c. Addition is commutative and associative.
func (c *Counts) Add(o Counts) {
	c.N += o.N
	c.Bytes += o.Bytes
	c.FpSum += o.FpSum
	c.FpXor ^= o.FpXor
	c.Hashed += o.Hashed
	c.LateMax = max(c.LateMax, o.LateMax)
	c.MaxTS = max(c.MaxTS, o.MaxTS)
}

// Cell is the running total of one key as one counting instance saw it in one epoch.
// A later snapshot of the same (Key, Instance, Epoch) replaces an earlier one: the one with the higher Seq counts.
type Cell struct {
	Key
	Instance string `json:"instance"` // who counted the records: node/container or node/pid of the application
	Service  string `json:"service,omitempty"`
	Node     string `json:"node,omitempty"`
	Epoch    int64  `json:"epoch"` // start of the counting process, Unix milliseconds; a restart is a new epoch
	Seq      uint64 `json:"seq"`   // grows with each snapshot of the epoch
	Counts
	Lossy bool `json:"lossy,omitempty"` // counted from increments over a transport that may drop
	Sample
}

// Auditor tells how far one collector's audit counting can be trusted.
// It is sent with every batch, also when no cell changed, so silence is seen.
type Auditor struct {
	Node     string `json:"node"`
	Epoch    int64  `json:"epoch"`          // start of the collector, Unix milliseconds
	Seq      uint64 `json:"seq"`            // snapshots sent in this epoch
	At       int64  `json:"at"`             // time of the snapshot, Unix milliseconds
	FlushMS  int64  `json:"flush_ms"`       // interval between snapshots
	Closed   bool   `json:"closed"`         // the collector stopped in order; nothing was left in memory
	Drops    uint64 `json:"drops"`          // audit datagrams the kernel or the parser dropped in this epoch
	Previous int64  `json:"prev,omitempty"` // epoch of the run before on this node, when known
	// PreviousOpen says the run before did not end in order: up to one flush interval of counts is unknown.
	PreviousOpen bool `json:"prev_open,omitempty"`
	// DropMax is the most records that the counts of one audit datagram stood for in this epoch: what one that was dropped may have held.
	DropMax uint64 `json:"drop_max,omitempty"`
	// DropWindows bounds which event windows the drops may belong to: [from, to) Unix seconds; zero when there are none.
	DropFrom int64 `json:"drop_from,omitempty"`
	DropTo   int64 `json:"drop_to,omitempty"`
	// ClockOffset is how far the server's clock is ahead of the node's, ClockError the bound of that figure, both microseconds.
	// An error of 0 says that it was not measured.
	ClockOffset int64 `json:"clock_offset_us,omitempty"`
	ClockError  int64 `json:"clock_error_us,omitempty"`
}

// Batch is the body of POST /api/v1/audit: JSON, optionally zstd, gzip or snappy compressed.
type Batch struct {
	Auditor Auditor `json:"auditor"`
	Cells   []Cell  `json:"cells"`
}

// Hash is the message hash of the audit contract: FNV-1a 64 of the id, then the splitmix64 finaliser.
func Hash(id string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(id) {
		h ^= uint64(id[i])
		h *= prime
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return h
}
