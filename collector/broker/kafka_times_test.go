package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzBatchTime reads what a broker may send for records: nothing, half a batch, or something else.
func FuzzBatchTime(f *testing.F) {
	batch := kmsg.RecordBatch{FirstOffset: 5, Length: 49, Magic: 2, FirstTimestamp: 1000, MaxTimestamp: 5000, NumRecords: 1, Records: []byte{12, 0, 0, 0, 1, 2, 'v', 0}}
	f.Add(batch.AppendTo(nil), int64(5))
	batch.Attributes = 0x20
	f.Add(batch.AppendTo(nil), int64(5))
	batch.Attributes = 0x03
	f.Add(batch.AppendTo(nil)[:40], int64(0))
	f.Add([]byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		next, at, err := batchTime(&kmsg.FetchResponseTopicPartition{RecordBatches: b}, offset)
		if err != nil && (next != 0 || at != 0) {
			t.Errorf("an error beside %d, %d", next, at)
		}
	})
}
