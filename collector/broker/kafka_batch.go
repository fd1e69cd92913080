package broker

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Of a batch of version 2: bytes of its header, where its version stands, and how many bytes its length leaves out.
const (
	batchHeader = 61
	batchMagic  = 16
	batchBefore = 12
)

// batchTime reads the time of the first record from an offset on out of fetched bytes; where to go on when they hold none. Markers of
// transactions are no records, and those of aborted transactions, if the broker tells of such, are read by nobody.
func batchTime(p *kmsg.FetchResponseTopicPartition, offset int64) (next, at int64, err error) {
	b := p.RecordBatches
	next = offset
	for aborts := abortsOf(p); len(b) >= batchHeader && b[batchMagic] == 2; {
		size := batchBefore + int64(binary.BigEndian.Uint32(b[8:]))
		attributes := binary.BigEndian.Uint16(b[21:])
		base := int64(binary.BigEndian.Uint64(b))
		last := base + int64(binary.BigEndian.Uint32(b[23:]))
		first, most := int64(binary.BigEndian.Uint64(b[27:])), int64(binary.BigEndian.Uint64(b[35:]))
		switch {
		case aborts.skip(attributes, int64(binary.BigEndian.Uint64(b[43:])), base), last < offset: // nobody reads it
		case attributes&0x08 != 0: // the time at which the broker took it
			return max(next, last+1), most, nil
		case attributes&0x07 != 0 && first > 0 && most-first <= nearEnough.Milliseconds():
			return max(next, last+1), first, nil
		case next > offset && size > int64(len(b)): // not all of it came
			return next, 0, nil
		default:
			return unpacked(p, b[:min(size, int64(len(b)))], next)
		}
		next = max(next, last+1)
		if size < batchHeader || size >= int64(len(b)) {
			return next, 0, nil
		}
		b = b[size:]
	}
	if next > offset {
		return next, 0, nil
	}
	return unpacked(p, b, offset)
}

// unpacked looks at the records of a batch, or of an older form.
func unpacked(p *kmsg.FetchResponseTopicPartition, b []byte, offset int64) (next, at int64, err error) {
	one := kmsg.NewFetchResponseTopicPartition()
	one.Partition, one.HighWatermark, one.LogStartOffset, one.RecordBatches = p.Partition, p.HighWatermark, p.LogStartOffset, b
	o := kgo.ProcessFetchPartitionOpts{Offset: offset, KeepControlRecords: true}
	fp, after := kgo.ProcessFetchPartition(o, &one, kgo.DefaultDecompressor(), nil)
	next = max(after, offset)
	for _, r := range fp.Records {
		next = max(next, r.Offset+1)
		if r.Offset >= offset && !r.Attrs.IsControl() {
			return next, r.Timestamp.UnixMilli(), nil
		}
	}
	if len(fp.Records) == 0 && fp.Err != nil {
		return 0, 0, fp.Err
	}
	return next, 0, nil
}

// aborts are the first offsets of aborted transactions, by producer, the next one first.
type aborts map[int64][]int64

func abortsOf(p *kmsg.FetchResponseTopicPartition) aborts {
	if len(p.AbortedTransactions) == 0 {
		return nil
	}
	a := aborts{}
	for _, t := range p.AbortedTransactions {
		a[t.ProducerID] = append(a[t.ProducerID], t.FirstOffset)
	}
	for _, firsts := range a {
		slices.Sort(firsts)
	}
	return a
}

// skip tells whether a batch is a marker or of an aborted transaction. Batches must come in their order: a producer has one transaction
// at a time, which ends with its marker.
func (a aborts) skip(attributes uint16, producer, base int64) bool {
	firsts := a[producer]
	within := len(firsts) > 0 && base >= firsts[0]
	switch {
	case attributes&0x20 != 0:
		if within {
			a[producer] = firsts[1:]
		}
		return true
	default:
		return within && attributes&0x10 != 0
	}
}
