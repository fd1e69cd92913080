package cell

import (
	"cmp"
	"slices"
)

// PairKind says what a Pair was joined for.
type PairKind string

// Kinds of pairs. Which names of the key are set depends on it.
const (
	PairEdge   PairKind = "edge"   // from, destination, group, to: producer spans against consumer spans
	PairWriter PairKind = "writer" // from, destination: what producer spans say was put out
	PairReader PairKind = "reader" // destination, group, to: what consumer spans say was taken in
	PairWork   PairKind = "work"   // to: what the process spans of a stage did with their time
)

// PairKey names what spans were joined for.
type PairKey struct {
	Kind        PairKind `json:"kind"`
	Pipeline    string   `json:"pipeline,omitempty"` // as the spans say; mostly empty: then the topology tells
	From        string   `json:"from,omitempty"`
	System      string   `json:"system,omitempty"`
	Destination string   `json:"destination,omitempty"`
	Group       string   `json:"group,omitempty"`
	To          string   `json:"to,omitempty"`
	Window      int64    `json:"window"` // start of the event window, Unix seconds; of a reader and of work the time of the span
	Width       int64    `json:"width"`  // seconds
}

// Compare orders keys by kind, pipeline, from, system, destination, group, to, window, width.
func (k PairKey) Compare(o PairKey) int {
	return cmp.Or(
		cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Pipeline, o.Pipeline), cmp.Compare(k.From, o.From), cmp.Compare(k.System, o.System),
		cmp.Compare(k.Destination, o.Destination), cmp.Compare(k.Group, o.Group), cmp.Compare(k.To, o.To),
		cmp.Compare(k.Window, o.Window), cmp.Compare(k.Width, o.Width),
	)
}

// Pair is what the spans of one window said about an edge, a side of it, or a stage, as one server saw it in one epoch.
// A later snapshot of the same (PairKey, Instance, Epoch) replaces an earlier one: the one with the higher Seq counts.
// Sums go over instances and epochs.
type Pair struct {
	PairKey
	Instance string `json:"instance"` // the server that joined
	Epoch    int64  `json:"epoch"`    // its start, Unix milliseconds
	Seq      uint64 `json:"seq"`
	At       int64  `json:"at"`                // time of the snapshot, Unix milliseconds
	Changed  int64  `json:"changed,omitempty"` // when a count last changed, Unix milliseconds
	PairCounts
}

// PairCounts are the figures of a Pair. Units are spans unless they say messages.
type PairCounts struct {
	// Of both sides of an edge: messages by all spans, joined or not. They give throughput and never a loss.
	Messages int64   `json:"messages,omitempty"`
	Received int64   `json:"received,omitempty"` // reader: messages by receive spans; Messages are those of process spans
	Adjusted float64 `json:"adjusted,omitempty"` // messages, each 1/p where the tracestate tells its probability p
	Known    int64   `json:"known,omitempty"`    // messages whose probability is told
	Failed   int64   `json:"failed,omitempty"`   // messages of producer spans that failed
	Acks     int64   `json:"acks,omitempty"`     // messages by settle spans
	MaxTS    int64   `json:"max_ts,omitempty"`   // writer and edge: newest event time, Unix milliseconds

	// Of an edge: producer spans in the sample and what became of them. Up = Matched + Waiting + Missed + Expired.
	// Of work: Matched traces go on after the stage, Missed end there.
	Up         int64 `json:"up,omitempty"`
	UpMessages int64 `json:"up_messages,omitempty"`
	Matched    int64 `json:"matched,omitempty"`
	InMessages int64 `json:"in_messages,omitempty"` // of the matched
	Waiting    int64 `json:"waiting,omitempty"`     // may still come
	Missed     int64 `json:"missed,omitempty"`      // later messages have overtaken them
	Expired    int64 `json:"expired,omitempty"`     // given up by age before anything overtook them: undecided
	Doubled    int64 `json:"doubled,omitempty"`     // further process spans of a producer span in the same group
	Overflow   int64 `json:"overflow,omitempty"`    // producer spans given up because the table was full

	// Of a reader: consumer spans whose producer span is not there, by the time they began.
	Reverse  int64 `json:"reverse,omitempty"`
	Unjudged int64 `json:"unjudged,omitempty"` // the producer may have been before this server began to watch

	Biased   bool     `json:"biased,omitempty"`   // tail-sampled: which traces are kept depends on what happened in them
	Apart    bool     `json:"apart,omitempty"`    // the reader draws its own sample: a missing span says nothing
	Examples []string `json:"examples,omitempty"` // trace ids of Missed, at most MaxPairExamples; of work: traces that went in and not on
	Seen     []string `json:"seen,omitempty"`     // a few trace ids of matched spans

	Wait  *Sketch `json:"wait,omitempty"`  // edge: from the end of the producer span to the begin of the consumer span
	Total *Sketch `json:"total,omitempty"` // edge: from the event time to the end of the process span
	Time  *Sketch `json:"time,omitempty"`  // work: length of process spans

	Spans     int64        `json:"spans,omitempty"`     // work: process spans
	BusyMS    float64      `json:"busy_ms,omitempty"`   // work: sum of their lengths
	Instances []string     `json:"instances,omitempty"` // work: processes seen, at most MaxPairInstances
	Calls     []Dependency `json:"calls,omitempty"`     // work: what process spans wait for, longest first, at most MaxDependencies
}

// Bounds of the lists of a Pair.
const (
	MaxPairExamples  = 10
	MaxPairInstances = 200
	MaxDependencies  = 20
)

// Dependency is one thing process spans call.
type Dependency struct {
	Name string  `json:"name"`
	N    int64   `json:"n"`
	MS   float64 `json:"ms"` // sum of the lengths of the client spans
	Time *Sketch `json:"time,omitempty"`
}

// Add adds o to c; it is commutative and associative up to the choice of trace ids, of which the smallest stay.
func (c *PairCounts) Add(o *PairCounts) {
	c.Messages += o.Messages
	c.Received += o.Received
	c.Adjusted += o.Adjusted
	c.Known += o.Known
	c.Failed += o.Failed
	c.Acks += o.Acks
	c.MaxTS = max(c.MaxTS, o.MaxTS)
	c.Up += o.Up
	c.UpMessages += o.UpMessages
	c.Matched += o.Matched
	c.InMessages += o.InMessages
	c.Waiting += o.Waiting
	c.Missed += o.Missed
	c.Expired += o.Expired
	c.Doubled += o.Doubled
	c.Overflow += o.Overflow
	c.Reverse += o.Reverse
	c.Unjudged += o.Unjudged
	c.Biased = c.Biased || o.Biased
	c.Apart = c.Apart || o.Apart
	c.Examples = smallest(c.Examples, o.Examples, MaxPairExamples)
	c.Seen = smallest(c.Seen, o.Seen, MaxPairExamples)
	c.Wait, c.Total, c.Time = merged(c.Wait, o.Wait), merged(c.Total, o.Total), merged(c.Time, o.Time)
	c.Spans += o.Spans
	c.BusyMS += o.BusyMS
	c.Instances = smallest(c.Instances, o.Instances, MaxPairInstances)
	for i := range o.Calls {
		c.call(&o.Calls[i])
	}
	if len(o.Calls) > 0 {
		slices.SortFunc(c.Calls, func(a, b Dependency) int { return cmp.Or(-cmp.Compare(a.MS, b.MS), cmp.Compare(a.Name, b.Name)) })
		c.Calls = c.Calls[:min(len(c.Calls), MaxDependencies)]
	}
}

func (c *PairCounts) call(d *Dependency) {
	i := slices.IndexFunc(c.Calls, func(x Dependency) bool { return x.Name == d.Name })
	if i < 0 {
		c.Calls = append(slices.Clip(c.Calls), Dependency{Name: d.Name, N: d.N, MS: d.MS, Time: d.Time.Clone()})
		return
	}
	c.Calls[i].N += d.N
	c.Calls[i].MS += d.MS
	c.Calls[i].Time = merged(c.Calls[i].Time, d.Time)
}

func merged(a, b *Sketch) *Sketch {
	switch {
	case b == nil:
		return a
	case a == nil:
		return b.Clone()
	}
	a = a.Clone()
	a.Merge(b)
	return a
}

func smallest(a, b []string, n int) []string {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), n)]
}
