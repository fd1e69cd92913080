package spandb

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/store"
)

func encoded(spans ...store.Span) []byte {
	cfg := DefaultConfig()
	e := newEncoder(&cfg)
	for i := range spans {
		e.add(&spans[i])
	}
	b, _ := e.finish()
	return bytes.Clone(b)
}

// FuzzRecord: no bytes make a record panic or take more memory than they are long.
func FuzzRecord(f *testing.F) {
	f.Add(encoded())
	f.Add(encoded(numberedRange(0, 5)...))
	s := numbered(1)
	s.Events = []store.SpanEvent{{Time: 1, Name: "e", Attrs: s.Attrs}}
	s.Links = []store.SpanLink{{Attrs: s.Attrs}}
	f.Add(encoded(s))
	f.Add([]byte{recordVersion, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, entries, err := replayRecord(b)
		if err != nil {
			return
		}
		var got store.Span
		var arena []store.Attr
		for _, e := range entries {
			rec.decode(e.off, &got, &arena)
			if got.Trace != e.trace || got.ID != e.id || got.Start != e.start || rec.strs[e.name] != got.Name {
				t.Fatalf("entry %+v decodes to %+v", e, got)
			}
		}
	})
}

// FuzzSegment: no bytes make a replay panic, and what it returns was in whole frames.
func FuzzSegment(f *testing.F) {
	rec := encoded(numberedRange(0, 3)...)
	frame := appendFrame(nil, rec)
	f.Add(frame)
	f.Add(append(bytes.Clone(frame), frame[:len(frame)-3]...))
	f.Add(append([]byte(frameMagic+"garbage"), frame...))
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "00000001.wal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		read := func([]byte) error { n++; return nil }
		d, err := replaySegment(path, true, read)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 && n == 0 && d.bytes != int64(len(b)) {
			t.Fatalf("%d bytes without a record, %d counted as damage", len(b), d.bytes)
		}
		first := n
		if again, err := replaySegment(path, true, read); err != nil || n != 2*first || again.bytes > d.bytes {
			t.Fatalf("a second replay gives %d records and %+v, the first %d and %+v, %v", n-first, again, first, d, err)
		}
	})
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":"1","b":"x"}`), "is")
	f.Add([]byte(`{"a":1}`), "s")
	f.Add([]byte(`{"a":"NaN","b":"true","c":"[1]"}`), "fbj")
	f.Fuzz(func(t *testing.T, obj []byte, types string) {
		as, err := parseObject(obj, types)
		if err != nil {
			return
		}
		again, err := parseObject(appendObject(nil, as), string(typesOf(nil, as)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range as { // NaN is written one way only
			as[i].Num = canonical(&as[i])
		}
		if d := gocmp.Diff(as, again, same...); d != "" {
			t.Fatal(d)
		}
	})
}
