package client

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

type key struct {
	dir, dst, group, reason string
	window                  int64
}

// counts is one increment: what a cell gathered since it was last sent.
type counts struct {
	n, bytes, sum, xor uint64
	hashed             uint64 // how many had an id
	newest             int64

	m   uint64 // ids whose hash is a multiple of it are sampled
	ids []sampled

	stride    uint64    // each latency stands for so many
	skip      uint64    // of them still to pass over
	latencies []float64 // milliseconds
}

type sampled struct {
	hash uint64
	id   string
}

// Bounds of one increment.
const (
	minM, maxM   = 64, 4096
	maxIDs       = 500 // sampled ids; beyond, the sample becomes coarser
	maxText      = 128 // longest id sent as text, bytes
	maxTexts     = 16  // of an increment
	maxLatencies = 256 // latencies; beyond, every other one is left out
)

func (v *counts) sample(h uint64, id string) {
	if h&(v.m-1) != 0 {
		return
	}
	v.ids = append(v.ids, sampled{h, id})
	for len(v.ids) > maxIDs && v.m <= maxM {
		v.raise(2 * v.m)
	}
}

// raise makes the sample coarser; beyond the coarsest there is none.
func (v *counts) raise(m uint64) {
	v.m = m
	if m > maxM {
		v.ids = nil
		return
	}
	v.ids = slices.DeleteFunc(v.ids, func(s sampled) bool { return s.hash&(m-1) != 0 })
}

func (v *counts) observe(ms float64) {
	if v.skip > 0 {
		v.skip--
		return
	}
	v.skip = v.stride - 1
	v.latencies = append(v.latencies, ms)
	if len(v.latencies) > maxLatencies {
		v.thin(2 * v.stride)
	}
}

// thin leaves out latencies until each stands for stride records.
func (v *counts) thin(stride uint64) {
	for v.stride < stride {
		v.stride *= 2
		kept := v.latencies[:0]
		for i := 0; i < len(v.latencies); i += 2 {
			kept = append(kept, v.latencies[i])
		}
		v.latencies = kept
	}
}

// add takes back what could not be sent.
func (v *counts) add(o *counts) {
	v.n += o.n
	v.bytes += o.bytes
	v.sum += o.sum
	v.xor ^= o.xor
	v.hashed += o.hashed
	v.newest = max(v.newest, o.newest)
	if v.m < o.m {
		v.raise(o.m)
	}
	for _, s := range o.ids {
		if v.m <= maxM {
			v.sample(s.hash, s.id)
		}
	}
	if o.stride > 0 {
		v.thin(o.stride)
		o.thin(v.stride)
		v.latencies = append(v.latencies, o.latencies...)
		for len(v.latencies) > maxLatencies {
			v.thin(2 * v.stride)
		}
	}
}

// How much one line holds, so that a datagram fits a packet.
const (
	maxLineIDs       = 25
	maxLineTexts     = 600 // bytes
	maxLineLatencies = 64
)

// lines writes an increment: its counts with the first ids, further ids with counts of 0, latencies.
func (c *Client) lines(k key, v *counts) []line {
	var out []line
	head := *v
	head.latencies, head.stride = nil, 0
	texts := longestKept(v.ids)
	whole := v.n == v.hashed && v.n > 0 && v.m <= maxM && !c.cfg.NoIDs
	rest := v.ids
	for first := true; first || len(rest) > 0; first = false {
		part := rest[:min(len(rest), maxLineIDs)]
		rest = rest[len(part):]
		l := line{cell: k, counts: counts{m: v.m, ids: part}}
		if first {
			head.ids = part
			l.counts = head
		}
		l.text = c.countLine(k, &l.counts, whole, texts)
		out = append(out, l)
		if !whole {
			break
		}
	}
	for vs := v.latencies; len(vs) > 0; {
		n := min(len(vs), maxLineLatencies)
		out = append(out, line{cell: k, counts: counts{stride: v.stride, latencies: vs[:n]}, text: c.latencyLine(k, vs[:n], v.stride)})
		vs = vs[n:]
	}
	return out
}

func (c *Client) countLine(k key, v *counts, whole bool, texts map[uint64]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "weir.audit.%s:%d|c|#p:%s,st:%s", k.dir, v.n, c.cfg.Pipeline, c.cfg.Stage)
	c.place(&b, k)
	if v.hashed == v.n && v.n > 0 {
		fmt.Fprintf(&b, ",fs:%016x,fx:%016x", v.sum, v.xor)
	}
	if v.newest != 0 {
		fmt.Fprintf(&b, ",mt:%d", v.newest)
	}
	if v.bytes != 0 {
		fmt.Fprintf(&b, ",by:%d", v.bytes)
	}
	if k.reason != "" {
		b.WriteString(",reason:" + k.reason)
	}
	if whole {
		b.WriteString(",ids:")
		room := maxLineTexts
		for i, s := range v.ids {
			if i > 0 {
				b.WriteByte('+')
			}
			fmt.Fprintf(&b, "%016x", s.hash)
			if id := texts[s.hash]; id != "" && len(id) <= room {
				b.WriteByte('=')
				b.WriteString(id)
				room -= len(id)
			}
		}
		if v.m != minM {
			fmt.Fprintf(&b, ",im:%d", v.m)
		}
	}
	b.WriteString(",svc:" + c.cfg.Service + c.suffix)
	return b.String()
}

func (c *Client) latencyLine(k key, vs []float64, stride uint64) string {
	b := []byte("weir.audit.latency")
	for _, v := range vs {
		b = strconv.AppendFloat(append(b, ':'), v, 'f', 3, 64)
	}
	b = append(b, "|d"...)
	if stride > 1 {
		b = strconv.AppendFloat(append(b, "|@"...), 1/float64(stride), 'g', -1, 64)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "|#p:%s,st:%s", c.cfg.Pipeline, c.cfg.Stage)
	c.place(&s, k)
	if k.dir != "in" {
		s.WriteString(",dir:" + k.dir)
	}
	s.WriteString(",svc:" + c.cfg.Service + c.suffix)
	return string(b) + s.String()
}

// place writes where and when the records were counted.
func (c *Client) place(b *strings.Builder, k key) {
	if k.dst != "" {
		b.WriteString(",dst:" + k.dst)
	}
	if k.group != "" {
		b.WriteString(",g:" + k.group)
	}
	if k.window != 0 {
		fmt.Fprintf(b, ",ew:%d", k.window)
	}
}

// longestKept picks ids to be sent as text: those that stay longest when the sample becomes coarser.
func longestKept(ids []sampled) map[uint64]string {
	best := slices.Clone(ids)
	slices.SortFunc(best, func(a, b sampled) int {
		return bits.TrailingZeros64(b.hash|maxM) - bits.TrailingZeros64(a.hash|maxM)
	})
	out := map[uint64]string{}
	for _, s := range best {
		if len(out) < maxTexts && len(s.id) <= maxText {
			out[s.hash] = escape(s.id)
		}
	}
	return out
}

// escape writes every byte but letters, digits and . _ ~ - as %XX.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
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
