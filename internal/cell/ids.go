package cell

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Bounds of an id sample.
const (
	MinM     = 64   // what samples begin with: 1 id in 64
	MaxM     = 4096 // the coarsest
	MaxIDs   = 1000 // different ids kept per cell
	MaxTexts = 128  // of these, how many are kept as text too
	MaxText  = 128  // longest id kept as text, bytes

	void = 2 * MaxM // more than MaxIDs even at MaxM: the sample was given up
)

// IDs is a sample of message ids: of all records counted, those whose Hash modulo M is 0. Two sides of an edge sample the
// same ids, so what one side lacks is lost and what it has twice is doubled. M is a power of two; it grows until at most
// MaxIDs different ids are left, so the result depends on what was counted and not on the order in which it came.
// The zero IDs is the sample of nothing.
type IDs struct {
	M     uint64 // 0 = of nothing yet
	Of    uint64 // how many records it was taken of; compares only when that is all of them
	IDs   []ID   // by hash, each once
	Texts []Text // ids that can be shown, those that stay longest first

	bad error
}

// ID is one sampled id.
type ID struct {
	Hash  uint64
	Times uint32 // how often it was counted
}

// Text is a sampled id as its application writes it.
type Text struct {
	Hash uint64
	ID   string
}

// Void says that the sample was given up: even 1 id in MaxM was too many.
func (s *IDs) Void() bool { return s.M > MaxM }

// Bad says what was wrong with a sample that came as JSON; nil when nothing was.
func (s *IDs) Bad() error { return s.bad }

// Observe counts one record. Its text may be left out.
func (s *IDs) Observe(hash uint64, text string) {
	if s.M == 0 {
		s.M = MinM
	}
	s.Of = plus(s.Of, 1)
	if s.Void() || hash&(s.M-1) != 0 {
		return
	}
	s.insert(hash, 1)
	if text != "" && len(text) <= MaxText {
		s.text(Text{hash, text})
	}
	s.shrink(MaxIDs)
}

// Merge adds o. It is commutative and associative, and leaves o as it is.
func (s *IDs) Merge(o *IDs) { s.MergeUpTo(o, MaxIDs) }

// MergeUpTo is Merge with another bound of different ids.
func (s *IDs) MergeUpTo(o *IDs, limit int) {
	if o == nil {
		return
	}
	s.Of = plus(s.Of, o.Of)
	if o.M == 0 {
		return
	}
	s.raise(max(s.M, o.M))
	if s.Void() {
		return
	}
	if len(o.IDs) > 16 {
		s.IDs = union(s.IDs, o.IDs, s.M)
	} else {
		for _, id := range o.IDs {
			if id.Hash&(s.M-1) == 0 {
				s.insert(id.Hash, id.Times)
			}
		}
	}
	for _, t := range o.Texts {
		if t.Hash&(s.M-1) == 0 {
			s.text(t)
		}
	}
	s.shrink(limit)
}

// Clone copies a sample.
func (s *IDs) Clone() *IDs {
	if s == nil {
		return nil
	}
	c := *s
	c.IDs, c.Texts = slices.Clone(s.IDs), slices.Clone(s.Texts)
	return &c
}

// Equal compares two samples; none equals the sample of nothing.
func (s *IDs) Equal(o *IDs) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.M == o.M && s.Of == o.Of && slices.Equal(s.IDs, o.IDs) && slices.Equal(s.Texts, o.Texts)
}

// Raise takes the next coarser sample, to save memory.
func (s *IDs) Raise() { s.raise(2 * max(s.M, MinM)) }

// Coarser returns the ids that are left at modulus m, which is at least M. They must not be changed.
func (s *IDs) Coarser(m uint64) []ID {
	if m == s.M {
		return s.IDs
	}
	var out []ID
	for _, id := range s.IDs {
		if id.Hash&(m-1) == 0 {
			out = append(out, id)
		}
	}
	return out
}

// Show returns the text of a sampled id, or its hash where no text is kept.
func (s *IDs) Show(hash uint64) (id string, known bool) {
	for _, t := range s.Texts {
		if t.Hash == hash {
			return t.ID, true
		}
	}
	return fmt.Sprintf("hash:%016x", hash), false
}

// Size is about how much memory a sample holds, bytes.
func (s *IDs) Size() int {
	if s == nil {
		return 0
	}
	n := 64 + 16*cap(s.IDs) + 24*cap(s.Texts)
	for _, t := range s.Texts {
		n += len(t.ID)
	}
	return n
}

// raise leaves out what is not in the sample 1 in m.
func (s *IDs) raise(m uint64) {
	if m <= s.M {
		return
	}
	s.M = m
	if s.Void() {
		s.M, s.IDs, s.Texts = void, nil, nil
		return
	}
	s.IDs = slices.DeleteFunc(s.IDs, func(id ID) bool { return id.Hash&(m-1) != 0 })
	s.Texts = slices.DeleteFunc(s.Texts, func(t Text) bool { return t.Hash&(m-1) != 0 })
}

func (s *IDs) shrink(limit int) {
	for len(s.IDs) > limit {
		s.raise(2 * s.M)
	}
}

func (s *IDs) insert(hash uint64, times uint32) {
	if n := len(s.IDs); n == 0 || s.IDs[n-1].Hash < hash {
		s.IDs = append(s.IDs, ID{hash, times})
		return
	}
	i, found := slices.BinarySearchFunc(s.IDs, hash, func(id ID, h uint64) int { return cmp.Compare(id.Hash, h) })
	if found {
		s.IDs[i].Times = plus32(s.IDs[i].Times, times)
		return
	}
	s.IDs = slices.Insert(s.IDs, i, ID{hash, times})
}

// text keeps the texts that the coarsest samples would keep, so that raising M leaves a prefix: then it does not matter
// what was merged first.
func (s *IDs) text(t Text) {
	i, found := slices.BinarySearchFunc(s.Texts, t, func(a, b Text) int {
		return cmp.Or(-cmp.Compare(level(a.Hash), level(b.Hash)), cmp.Compare(a.Hash, b.Hash))
	})
	switch {
	case found:
		s.Texts[i].ID = min(s.Texts[i].ID, t.ID) // two ids of one hash: any, but always the same
	case i < MaxTexts:
		s.Texts = slices.Insert(s.Texts, i, t)
		s.Texts = s.Texts[:min(len(s.Texts), MaxTexts)]
	}
}

// level is the largest power of two, up to MaxM, that divides a hash, as an exponent.
func level(hash uint64) int { return min(bits.TrailingZeros64(hash), bits.TrailingZeros64(MaxM)) }

// union merges two sorted lists at modulus m.
func union(a, b []ID, m uint64) []ID {
	out := make([]ID, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Hash < b[0].Hash:
			out = append(out, a[0])
			a = a[1:]
		case b[0].Hash&(m-1) != 0:
			b = b[1:]
		case len(a) == 0 || b[0].Hash < a[0].Hash:
			out = append(out, b[0])
			b = b[1:]
		default:
			out = append(out, ID{a[0].Hash, plus32(a[0].Times, b[0].Times)})
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func plus32(a, b uint32) uint32 { return uint32(min(uint64(a)+uint64(b), math.MaxUint32)) }

// checkM refuses a modulus that no sampling has.
func checkM(m uint64) error {
	if m < MinM || m > MaxM || m&(m-1) != 0 {
		return fmt.Errorf("cannot use sampling modulus %d: it must be a power of two from %d to %d", m, MinM, MaxM)
	}
	return nil
}

// ParseTag reads the form that ids have in the tag "ids" of an increment and in the attribute weir.ids: sampled ids joined by
// "+", each sixteen hexadecimal digits of its hash, then perhaps "*" and how often it was counted, then perhaps "=" and the id
// itself with every byte but letters, digits and ".", "_", "~", "-" as %XX. Empty means that no record was in the sample.
// m is the modulus the sender used, of says of how many records the sample is. What is wrong leaves s without a sample.
func (s *IDs) ParseTag(tag []byte, m, of uint64) error {
	*s = IDs{IDs: s.IDs[:0], Texts: s.Texts[:0]}
	if err := checkM(m); err != nil {
		return err
	}
	s.M, s.Of = m, of
	if err := s.parseTag(tag); err != nil {
		*s = IDs{IDs: s.IDs[:0], Texts: s.Texts[:0]}
		return err
	}
	return nil
}

func (s *IDs) parseTag(tag []byte) error {
	for rest := tag; len(rest) > 0; {
		one := rest
		if i := slices.Index(rest, '+'); i >= 0 {
			one, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		hash, ok := hex16(one)
		if !ok {
			return fmt.Errorf("cannot read sampled id %q: it must begin with 16 hexadecimal digits", clip(one))
		}
		if hash&(s.M-1) != 0 {
			return fmt.Errorf("cannot take sampled id %q: its hash is not a multiple of %d", clip(one), s.M)
		}
		if len(s.IDs) >= MaxIDs {
			return fmt.Errorf("cannot take more than %d sampled ids at once: use a larger modulus than %d", MaxIDs, s.M)
		}
		one = one[16:]
		times := uint32(1)
		if len(one) > 0 && one[0] == '*' {
			v, n := decimal(one[1:])
			if n == 0 || v == 0 {
				return fmt.Errorf("cannot read how often sampled id %016x was counted: %q is not a number above 0", hash, clip(one[1:]))
			}
			times, one = v, one[1+n:]
		}
		if len(one) > 0 {
			if one[0] != '=' {
				return fmt.Errorf("cannot read sampled id %016x: %q follows; only *COUNT and =ID may", hash, clip(one))
			}
			text, err := unescape(one[1:])
			if err != nil {
				return fmt.Errorf("cannot read the text of sampled id %016x: %w", hash, err)
			}
			if Hash(text) != hash {
				return fmt.Errorf("cannot take sampled id %q: its hash is %016x, not %016x", clip([]byte(text)), Hash(text), hash)
			}
			if len(text) <= MaxText && utf8.ValidString(text) {
				s.text(Text{hash, text})
			}
		}
		s.insert(hash, times)
	}
	return nil
}

// AppendTag appends the form that ParseTag reads.
func (s *IDs) AppendTag(b []byte) []byte {
	for i, id := range s.IDs {
		if i > 0 {
			b = append(b, '+')
		}
		b = appendHex16(b, id.Hash)
		if id.Times != 1 {
			b = fmt.Appendf(b, "*%d", id.Times)
		}
		for _, t := range s.Texts {
			if t.Hash == id.Hash {
				b = escape(append(b, '='), t.ID)
			}
		}
	}
	return b
}

func hex16(b []byte) (uint64, bool) {
	if len(b) < 16 {
		return 0, false
	}
	var v uint64
	for _, c := range b[:16] {
		d, ok := digit(c)
		if !ok {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

const hexDigits = "0123456789abcdef"

func appendHex16(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// decimal reads the number at the front of b and says how many digits it has; 0 when it is none.
func decimal(b []byte) (v uint32, n int) {
	var u uint64
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		if u = u*10 + uint64(b[n]-'0'); u > math.MaxUint32 {
			return 0, 0
		}
		n++
	}
	return uint32(u), n
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '~' || c == '-'
}

func escape(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

var errEscape = errors.New("a % must be followed by two hexadecimal digits, and bytes that are no letter, digit, . _ ~ or - are written so")

func unescape(b []byte) (string, error) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '%' {
			if !plain(c) {
				return "", errEscape
			}
			out = append(out, c)
			continue
		}
		if i+2 >= len(b) {
			return "", errEscape
		}
		hi, ok1 := digit(b[i+1])
		lo, ok2 := digit(b[i+2])
		if !ok1 || !ok2 {
			return "", errEscape
		}
		out = append(out, hi<<4|lo)
		i += 2
	}
	return string(out), nil
}

func clip(b []byte) string {
	if len(b) > 40 {
		return string(b[:40]) + "…"
	}
	return string(b)
}
