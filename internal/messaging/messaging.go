// Package messaging reads what OpenTelemetry's messaging conventions, old and new, say about a span: what it did, to which
// messages, and with which probability it was sampled. Collector and ingest share it, so both count the same.
package messaging

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Attributes that are read. Where a convention was renamed both names are.
const (
	OperationType = "messaging.operation.type"
	Operation     = "messaging.operation" // until 1.26: publish, create, receive, process, settle
	OperationName = "messaging.operation.name"
	System        = "messaging.system"
	Destination   = "messaging.destination.name"
	DestinationV1 = "messaging.destination"
	Temporary     = "messaging.destination.temporary"
	Anonymous     = "messaging.destination.anonymous"
	Subscription  = "messaging.destination.subscription.name"
	Group         = "messaging.consumer.group.name"
	GroupKafka    = "messaging.kafka.consumer.group"
	GroupV1       = "messaging.consumer_group"
	Partition     = "messaging.destination.partition.id"
	PartitionV1   = "messaging.kafka.destination.partition"
	PartitionV0   = "messaging.kafka.partition"
	Offset        = "messaging.kafka.offset"
	OffsetV1      = "messaging.kafka.message.offset"
	MessageID     = "messaging.message.id"
	MessageIDV1   = "messaging.message_id"
	BatchCount    = "messaging.batch.message_count"

	Pipeline = "weir.pipeline"
	Stage    = "weir.stage"
	Time     = "weir.ts"       // origin of the message, Unix milliseconds
	Sampling = "weir.sampling" // none: every span is sent; tail: traces are chosen after the fact
)

// Role is what a span did with messages.
type Role uint8

// Roles.
const (
	None    Role = iota
	Create       // made a message that a later send puts out
	Send         // put messages out
	Receive      // fetched messages
	Process      // worked on messages
	Settle       // acknowledged messages
)

// Span kinds, numbered as in OTLP.
const (
	kindClient   = 3
	kindProducer = 4
	kindConsumer = 5
)

// RoleOf tells the role of a span by its operation type, else its operation or the name of it, else its kind.
func RoleOf(kind uint8, opType, op, opName string) Role {
	for _, s := range [...]string{opType, op} {
		switch s {
		case "":
			continue
		case "send", "publish":
			return Send
		case "create":
			return Create
		case "receive":
			return Receive
		case "process", "deliver":
			return Process
		case "settle":
			return Settle
		}
	}
	switch opName {
	case "ack", "nack", "commit", "settle", "complete", "abandon", "reject":
		return Settle
	case "poll", "receive", "fetch":
		return Receive
	}
	switch kind {
	case kindProducer:
		return Send
	case kindConsumer:
		return Process
	}
	return None
}

// Weight is how many messages a span stands for: what the batch says, else its links, else 1.
func Weight(batch int64, links int) int64 {
	const most = 1 << 32 // beyond it an attribute is not believed
	switch {
	case batch > 0 && batch < most:
		return batch
	case links > 0:
		return int64(links)
	}
	return 1
}

// randomBits is the width of thresholds and randomness in tracestate.
const randomBits = 56

// Threshold reads the rejection threshold ot=th:… of a tracestate: a span is kept when its randomness is at least that. 0 keeps
// all. ok is false when the tracestate does not tell.
func Threshold(tracestate string) (th uint64, ok bool) {
	v, ok := member(tracestate, "th:")
	if !ok || v == "" || len(v) > randomBits/4 {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 16, 64)
	if err != nil {
		return 0, false
	}
	return n << (4 * (randomBits/4 - len(v))), true
}

// Randomness is what a sampler compares with the threshold: ot=rv:… of a tracestate, else the last 7 bytes of the trace id.
func Randomness(tracestate string, trace [16]byte) uint64 {
	if tracestate != "" {
		if v, ok := member(tracestate, "rv:"); ok && len(v) == randomBits/4 {
			if n, err := strconv.ParseUint(v, 16, 64); err == nil {
				return n
			}
		}
	}
	return binary.BigEndian.Uint64(trace[8:]) & (1<<randomBits - 1)
}

// Adjusted is how many spans one with this threshold stands for: 1/p.
func Adjusted(th uint64) float64 {
	if th >= 1<<randomBits {
		return 1
	}
	return float64(uint64(1)<<randomBits) / float64(uint64(1)<<randomBits-th)
}

// member finds a sub-key of the ot member of a tracestate.
func member(tracestate, key string) (string, bool) {
	for rest := tracestate; rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, ",")
		one = strings.TrimSpace(one)
		if len(one) < 3 || one[:3] != "ot=" {
			continue
		}
		for sub := one[3:]; sub != ""; {
			var s string
			s, sub, _ = strings.Cut(sub, ";")
			if v, ok := strings.CutPrefix(s, key); ok {
				return v, true
			}
		}
		return "", false
	}
	return "", false
}

// ParseTime reads an origin stamp in Unix milliseconds; 0 when it is none.
func ParseTime(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return SaneTime(n)
}

// SaneTime returns ms when it can be a time in Unix milliseconds between 2001 and 2286, else 0.
func SaneTime(ms int64) int64 {
	if ms < 1e12 || ms > 1e13 {
		return 0
	}
	return ms
}
