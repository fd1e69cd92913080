package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer writes transactions; each of its records is a batch.
func (b *kbench) producer(id string) (begin, records, end func(n int)) {
	cl := b.client(kgo.TransactionalID(id))
	begin = func(int) {
		if err := cl.BeginTransaction(); err != nil {
			b.t.Fatal(err)
		}
	}
	records = func(n int) {
		for range n {
			if err := cl.ProduceSync(b.t.Context(), &kgo.Record{Topic: "t", Value: []byte("r"), Timestamp: stampOf(7)}).FirstErr(); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	end = func(commit int) {
		if err := cl.EndTransaction(b.t.Context(), commit != 0); err != nil {
			b.t.Fatal(err)
		}
	}
	return begin, records, end
}

// Several producers write transactions at once: their markers follow one another.
func TestKafkaSeveralMarkers(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	const n = 7 // more than one look-up has steps
	var ends []func(int)
	for i := range n {
		begin, records, end := b.producer(string(rune('a' + i)))
		begin(0)
		records(1)
		ends = append(ends, end)
	}
	for _, end := range ends {
		end(1)
	}
	b.commit("g", "t", n)
	poll := b.poll()
	if got := on(poll, "t", "0", "")["end_offset"]; got != 2*n {
		t.Fatalf("end_offset = %v, want %d records and as many markers", got, n)
	}
	want(t, "all is read", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": n, "pending_messages": 0})
}

// Nobody who reads committed transactions gets the records of aborted ones.
func TestKafkaAborted(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	begin, records, end := b.producer("a")
	begin(0)
	records(2)
	end(1)
	b.commit("g", "t", 2)
	begin(0)
	records(5)
	want(t, "only an open transaction", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 2, "pending_messages": 0})
	end(0)
	want(t, "only an aborted transaction", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 2, "pending_messages": 0})
	b.commit("g", "t", 5)
	want(t, "in its middle", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 5, "pending_messages": 0})
	// More than one poll looks at: the next one goes on where it stopped.
	for range 150 {
		begin(0)
		records(1)
		end(0)
	}
	want(t, "not known yet", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 5})
	want(t, "many aborted transactions", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 5, "pending_messages": 0})
	begin(0)
	records(1)
	end(1)
	want(t, "a record waits", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 5, "committed_timestamp_seconds": float64(stampOf(7).Unix())})
}

// In one answer a producer commits, aborts and commits again, and another one's records stand between.
func TestBatchTimeAborted(t *testing.T) {
	var b []byte
	batch := func(offset int64, producer int64, control bool, at int64) {
		x := kmsg.RecordBatch{FirstOffset: offset, Length: 49, Magic: 2, Attributes: 0x18, ProducerID: producer, FirstTimestamp: at, MaxTimestamp: at}
		if control {
			x.Attributes |= 0x20
		}
		b = x.AppendTo(b)
	}
	const p, q = 7, 8
	batch(0, p, false, 1000)
	batch(1, p, true, 0)
	batch(2, p, false, 2000) // aborted
	batch(3, q, false, 3000)
	batch(4, p, true, 0)
	batch(5, q, false, 4000) // aborted
	batch(6, p, false, 5000)
	batch(7, q, true, 0)
	batch(8, p, true, 0)
	aborted := func(producer, first int64) kmsg.FetchResponseTopicPartitionAbortedTransaction {
		return kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: producer, FirstOffset: first}
	}
	for _, c := range []struct{ offset, next, at int64 }{{0, 1, 1000}, {1, 4, 3000}, {2, 4, 3000}, {3, 4, 3000}, {4, 7, 5000}, {7, 9, 0}} {
		f := &kmsg.FetchResponseTopicPartition{RecordBatches: b[61*c.offset:]}
		if c.offset <= 4 {
			f.AbortedTransactions = append(f.AbortedTransactions, aborted(p, 2))
		}
		if c.offset <= 7 {
			f.AbortedTransactions = append(f.AbortedTransactions, aborted(q, 5))
		}
		if next, at, err := batchTime(f, c.offset); next != c.next || at != c.at || err != nil {
			t.Errorf("from %d: next %d, time %d, %v; want %d, %d", c.offset, next, at, err, c.next, c.at)
		}
	}
	// The last batch is cut off: it is for the next look-up.
	if next, at, err := batchTime(&kmsg.FetchResponseTopicPartition{RecordBatches: b[61 : 61*2+40]}, 1); next != 2 || at != 0 || err != nil {
		t.Errorf("a part of a batch: next %d, time %d, %v; want 2 and none", next, at, err)
	}
}
