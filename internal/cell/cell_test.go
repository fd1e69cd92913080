package cell

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/collector/client"
)

// The hash is a public contract: other languages compute the same numbers.
func TestHashIsTheContract(t *testing.T) {
	for id, want := range map[string]uint64{
		"":    0xf52a15e9a9b5e89b,
		"a":   0x02c0bdbf481420f8, // computed apart, in another language
		"o-1": 0x50bd6d326ec3527c,
	} {
		if got := Hash(id); got != want {
			t.Errorf("Hash(%q) = %#016x, want %#016x", id, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.String().Draw(t, "id")
		if a, b := Hash(id), client.Hash(id); a != b {
			t.Fatalf("the server hashes %q to %#x, the client to %#x", id, a, b)
		}
	})
}

func TestCountsAddUpInAnyOrder(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) Counts {
		u := rapid.Uint64()
		return Counts{
			N: u.Draw(t, "n"), Bytes: u.Draw(t, "bytes"), FpSum: u.Draw(t, "sum"), FpXor: u.Draw(t, "xor"), Hashed: u.Draw(t, "hashed"),
			LateMax: rapid.Int64().Draw(t, "late"), MaxTS: rapid.Int64().Draw(t, "ts"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		cs := rapid.SliceOfN(draw, 0, 8).Draw(t, "counts")
		order := rapid.Permutation(cs).Draw(t, "order")
		a, b := Counts{LateMax: math.MinInt64, MaxTS: math.MinInt64}, Counts{LateMax: math.MinInt64, MaxTS: math.MinInt64}
		for i := range cs {
			a.Add(cs[i])
			b.Add(order[i])
		}
		if a != b {
			t.Fatalf("%+v in one order, %+v in another", a, b)
		}
	})
}

func TestBatchSurvivesJSON(t *testing.T) {
	in := Batch{
		Auditor: Auditor{Node: "n", Epoch: 1, Seq: 2, At: 3, FlushMS: 4, Closed: true, Drops: 5, Previous: 6, PreviousOpen: true, DropFrom: 7, DropTo: 8},
		Cells: []Cell{{
			Key:      Key{Pipeline: "p", Stage: "s", Dir: Dropped, Destination: "d", Group: "g", Reason: "r", Window: 60, Width: 60},
			Instance: "i", Service: "svc", Node: "n", Epoch: 9, Seq: 10, Lossy: true,
			// Fingerprints use all 64 bits, which JSON numbers in other languages do not hold.
			Counts: Counts{N: 1, Bytes: 2, FpSum: math.MaxUint64, FpXor: math.MaxUint64 - 1, Hashed: 1, LateMax: 3, MaxTS: 4},
		}},
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Batch
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
}

func TestKeysHaveOneOrder(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) Key {
		s := rapid.SampledFrom([]string{"", "a", "b"})
		return Key{
			Pipeline: s.Draw(t, "p"), Stage: s.Draw(t, "s"), Dir: rapid.SampledFrom(Dirs()).Draw(t, "d"), Destination: s.Draw(t, "dst"),
			Group: s.Draw(t, "g"), Reason: s.Draw(t, "r"), Window: int64(rapid.IntRange(0, 2).Draw(t, "w")), Width: 60,
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%+v and %+v: %d and %d", a, b, a.Compare(b), b.Compare(a))
		}
	})
}
