package cell

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// idsJSON is the form of IDs in a Batch: hashes are hexadecimal, since JSON numbers of other languages do not hold 64 bits.
type idsJSON struct {
	M     uint64            `json:"m"`
	Of    uint64            `json:"of"`
	IDs   string            `json:"ids"`             // sixteen digits for each id, one after the other
	Times map[string]uint32 `json:"times,omitempty"` // of ids that were counted more than once
	Texts map[string]string `json:"texts,omitempty"` // of ids that can be shown
}

// MarshalJSON writes the sample as docs/wire.md describes it.
func (s *IDs) MarshalJSON() ([]byte, error) {
	j := idsJSON{M: s.M, Of: s.Of}
	b := make([]byte, 0, 16*len(s.IDs))
	for _, id := range s.IDs {
		b = appendHex16(b, id.Hash)
		if id.Times != 1 {
			if j.Times == nil {
				j.Times = map[string]uint32{}
			}
			j.Times[fmt.Sprintf("%016x", id.Hash)] = id.Times
		}
	}
	j.IDs = string(b)
	for _, t := range s.Texts {
		if j.Texts == nil {
			j.Texts = map[string]string{}
		}
		j.Texts[fmt.Sprintf("%016x", t.Hash)] = t.ID
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads a sample. One that makes no sense is no error, so that the rest of a batch can be read: Bad tells.
func (s *IDs) UnmarshalJSON(b []byte) error {
	*s = IDs{}
	var j idsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		s.bad = fmt.Errorf("cannot read id sample: %w", err)
		return nil
	}
	if err := s.fromJSON(&j); err != nil {
		*s = IDs{bad: err}
	}
	return nil
}

func (s *IDs) fromJSON(j *idsJSON) error {
	s.M, s.Of = j.M, j.Of
	if j.M == void && j.IDs == "" {
		return nil
	}
	if err := checkM(j.M); err != nil {
		return err
	}
	if len(j.IDs)%16 != 0 {
		return fmt.Errorf("cannot read id sample: ids has %d digits, which is no multiple of 16", len(j.IDs))
	}
	if len(j.IDs) > 16*MaxIDs {
		return fmt.Errorf("cannot take %d sampled ids: at most %d are; use a larger m", len(j.IDs)/16, MaxIDs)
	}
	for b := []byte(j.IDs); len(b) > 0; b = b[16:] {
		h, ok := hex16(b)
		if !ok || h&(s.M-1) != 0 {
			return fmt.Errorf("cannot take sampled id %q: it must be 16 hexadecimal digits of a hash that is a multiple of %d", b[:16], s.M)
		}
		s.insert(h, 1)
	}
	for k, n := range j.Times {
		h, err := strconv.ParseUint(k, 16, 64)
		if err != nil || n == 0 {
			return fmt.Errorf("cannot read how often id %q was counted: %d", clip([]byte(k)), n)
		}
		if i, ok := s.find(h); ok {
			s.IDs[i].Times = n
		}
	}
	for k, id := range j.Texts {
		h, err := strconv.ParseUint(k, 16, 64)
		if err != nil || Hash(id) != h {
			return fmt.Errorf("cannot take the text %q of sampled id %q: its hash is %016x", clip([]byte(id)), clip([]byte(k)), Hash(id))
		}
		if _, ok := s.find(h); ok && len(id) <= MaxText {
			s.text(Text{h, id})
		}
	}
	s.shrink(MaxIDs)
	return nil
}

func (s *IDs) find(h uint64) (int, bool) {
	lo, hi := 0, len(s.IDs)
	for lo < hi {
		if m := (lo + hi) / 2; s.IDs[m].Hash < h {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(s.IDs) && s.IDs[lo].Hash == h
}

// sketchJSON is the form of a Sketch in a Batch. Buckets are the count of the first one, then for each further one the distance to
// the one before and its count; the bucket of index i holds latencies in (γ^(i−1), γ^i] milliseconds, γ = 1.0156.
type sketchJSON struct {
	Count    uint64   `json:"count"`
	Zero     uint64   `json:"zero,omitempty"`
	Clamped  uint64   `json:"clamped,omitempty"`
	Min      float64  `json:"min"`
	Max      float64  `json:"max"`
	Sum      uint64   `json:"sum_us"`
	Buckets  []uint64 `json:"buckets,omitempty"`
	First    int      `json:"first,omitempty"` // index of the first bucket; Buckets begins with its count
	Negative []uint64 `json:"negative,omitempty"`
	NegFirst int      `json:"negative_first,omitempty"`
}

// MarshalJSON writes the sketch as docs/wire.md describes it.
func (s *Sketch) MarshalJSON() ([]byte, error) {
	return json.Marshal(sketchJSON{
		Count: s.Count, Zero: s.zero, Clamped: s.Clamped, Min: s.Min, Max: s.Max, Sum: s.Sum,
		Buckets: s.pos.sparse(), First: s.pos.first, Negative: s.neg.sparse(), NegFirst: s.neg.first,
	})
}

// UnmarshalJSON reads a sketch. One that makes no sense is no error, so that the rest of a batch can be read: Bad tells.
func (s *Sketch) UnmarshalJSON(b []byte) error {
	*s = Sketch{}
	var j sketchJSON
	err := json.Unmarshal(b, &j)
	if err == nil {
		s.Count, s.zero, s.Clamped, s.Min, s.Max, s.Sum = j.Count, j.Zero, j.Clamped, j.Min, j.Max, min(j.Sum, sumLimit)
		err = errors.Join(s.pos.read(j.First, j.Buckets), s.neg.read(j.NegFirst, j.Negative))
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		*s = Sketch{bad: fmt.Errorf("cannot read latency sketch: %w", err)}
	}
	return nil
}

// sparse writes the count of the first bucket, then for each further one that holds something the distance and the count.
func (b *store) sparse() []uint64 {
	var out []uint64
	last := 0
	for i, n := range b.n {
		if n == 0 {
			continue
		}
		if len(out) > 0 {
			out = append(out, uint64(i-last))
		}
		out = append(out, n)
		last = i
	}
	return out
}

func (b *store) read(first int, sparse []uint64) error {
	*b = store{}
	if len(sparse) == 0 {
		return nil
	}
	if len(sparse)%2 == 0 {
		return fmt.Errorf("%d figures: the count of the first bucket, then pairs of distance and count", len(sparse))
	}
	if first < minIndex || first > maxIndex {
		return fmt.Errorf("first bucket %d: it must lie between %d and %d", first, minIndex, maxIndex)
	}
	i := uint64(first - minIndex)
	end := i
	for k := 1; k < len(sparse); k += 2 {
		if sparse[k] == 0 || sparse[k] > maxIndex-minIndex {
			return fmt.Errorf("distance %d between buckets", sparse[k])
		}
		if end += sparse[k]; end > maxIndex-minIndex {
			return fmt.Errorf("bucket %d: the last is %d", int(end)+minIndex, maxIndex)
		}
	}
	if sparse[0] == 0 {
		return errors.New("the first bucket is empty")
	}
	if end-i < MaxBuckets {
		b.n = make([]uint64, 0, end-i+1)
	}
	b.add(first, sparse[0])
	for k := 1; k < len(sparse); k += 2 {
		if i += sparse[k]; sparse[k+1] == 0 {
			return fmt.Errorf("bucket %d is empty", int(i)+minIndex)
		}
		b.add(int(i)+minIndex, sparse[k+1])
	}
	return nil
}

// sampleForm begins a blob; another number is another form.
const sampleForm = 1

// Sample is what a cell may hold beyond figures.
type Sample struct {
	IDs     *IDs    `json:"ids,omitempty"`     // of the ids counted; nil where nobody sampled
	Latency *Sketch `json:"latency,omitempty"` // time from the origin stamp to here; nil where nobody measured
	// Corrected is Latency as it were if the node's clock were the server's. It is kept where the clocks are known to differ.
	Corrected *Sketch `json:"corrected,omitempty"`
}

// AppendBinary packs a sample for a store: about six and a half bytes an id, two a bucket. Nothing is appended for an empty one.
func (s *Sample) AppendBinary(b []byte) []byte {
	if *s == (Sample{}) {
		return b
	}
	b = append(b, sampleForm, 0)
	flags := len(b) - 1
	if s.IDs != nil {
		b[flags] |= 1
		b = s.IDs.append(b)
	}
	if s.Latency != nil {
		b[flags] |= 2
		b = s.Latency.append(b)
	}
	if s.Corrected != nil {
		b[flags] |= 4
		b = s.Corrected.append(b)
	}
	return b
}

func (s *IDs) append(b []byte) []byte {
	b = binary.AppendUvarint(b, s.M)
	b = binary.AppendUvarint(b, s.Of)
	b = binary.AppendUvarint(b, uint64(len(s.IDs)))
	shift := bits.TrailingZeros64(max(s.M, 1)) // they are zero in every hash
	last, repeated := uint64(0), 0
	for _, id := range s.IDs {
		b = binary.AppendUvarint(b, id.Hash>>shift-last)
		last = id.Hash >> shift
		if id.Times != 1 {
			repeated++
		}
	}
	b = binary.AppendUvarint(b, uint64(repeated))
	at := 0
	for i, id := range s.IDs {
		if id.Times != 1 {
			b = binary.AppendUvarint(b, uint64(i-at))
			b = binary.AppendUvarint(b, uint64(id.Times))
			at = i
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.Texts)))
	for _, t := range s.Texts {
		i, _ := s.find(t.Hash)
		b = binary.AppendUvarint(b, uint64(i))
		b = binary.AppendUvarint(b, uint64(len(t.ID)))
		b = append(b, t.ID...)
	}
	return b
}

func (s *Sketch) append(b []byte) []byte {
	for _, v := range [...]uint64{s.Count, s.Clamped, s.Sum, s.zero} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.Min))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.Max))
	for _, st := range [...]*store{&s.pos, &s.neg} {
		sparse := st.sparse()
		b = binary.AppendVarint(b, int64(st.first))
		b = binary.AppendUvarint(b, uint64(len(sparse)))
		for _, v := range sparse {
			b = binary.AppendUvarint(b, v)
		}
	}
	return b
}

var errSample = errors.New("cannot read the ids and latencies of a cell: the blob is damaged")

// ParseSample reads what AppendBinary wrote; of nothing it makes the empty sample.
func ParseSample(b []byte) (Sample, error) {
	var s Sample
	if len(b) == 0 {
		return s, nil
	}
	if len(b) < 2 || b[0] != sampleForm || b[1] > 7 {
		return s, errSample
	}
	r := blob{b: b[2:]}
	if b[1]&1 != 0 {
		s.IDs = r.ids()
	}
	if b[1]&2 != 0 {
		s.Latency = r.sketch()
	}
	if b[1]&4 != 0 {
		s.Corrected = r.sketch()
	}
	if r.bad || len(r.b) > 0 {
		return Sample{}, errSample
	}
	return s, nil
}

// blob reads; after the first mistake everything is 0.
type blob struct {
	b   []byte
	bad bool
}

func (r *blob) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// length reads a number of things of which each takes at least one byte.
func (r *blob) length() int {
	v := r.uvarint()
	if v > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(v)
}

func (r *blob) ids() *IDs {
	s := &IDs{M: r.uvarint(), Of: r.uvarint()}
	n := r.length()
	if s.M != 0 && s.M != void && checkM(s.M) != nil || (s.M == 0 || s.M == void) && n > 0 || n > MaxIDs {
		r.bad = true
		return nil
	}
	if n > 0 {
		s.IDs = make([]ID, n)
	}
	shift := bits.TrailingZeros64(max(s.M, 1))
	last := uint64(0)
	for i := range s.IDs {
		d := r.uvarint()
		if i > 0 && d == 0 || d > math.MaxUint64>>shift-last {
			r.bad = true
			return nil
		}
		last += d
		s.IDs[i] = ID{last << shift, 1}
	}
	at := uint64(0)
	for k := range r.length() {
		d := r.uvarint()
		if at += d; d > uint64(n) || at >= uint64(n) || k > 0 && d == 0 {
			r.bad = true
			return nil
		}
		times := r.uvarint()
		if times == 0 || times == 1 || times > math.MaxUint32 {
			r.bad = true
			return nil
		}
		s.IDs[at].Times = uint32(times)
	}
	for range r.length() {
		i, l := r.uvarint(), r.length()
		if r.bad || i >= uint64(n) || l > MaxText || l > len(r.b) {
			r.bad = true
			return nil
		}
		s.Texts = append(s.Texts, Text{s.IDs[i].Hash, string(r.b[:l])})
		r.b = r.b[l:]
	}
	return s
}

func (r *blob) sketch() *Sketch {
	s := &Sketch{Count: r.uvarint(), Clamped: r.uvarint(), Sum: r.uvarint(), zero: r.uvarint()}
	if len(r.b) < 16 {
		r.bad = true
		return nil
	}
	s.Min = math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	s.Max = math.Float64frombits(binary.LittleEndian.Uint64(r.b[8:]))
	r.b = r.b[16:]
	for _, st := range [...]*store{&s.pos, &s.neg} {
		first, n := binary.Varint(r.b)
		if n <= 0 || first < minIndex || first > maxIndex {
			r.bad = true
			return nil
		}
		r.b = r.b[n:]
		sparse := make([]uint64, r.length())
		for i := range sparse {
			sparse[i] = r.uvarint()
		}
		if r.bad || st.read(int(first), sparse) != nil {
			r.bad = true
			return nil
		}
	}
	if s.check() != nil {
		r.bad = true
		return nil
	}
	return s
}
