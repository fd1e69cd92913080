package spandb

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
)

// numbered makes span n: trace n/4, id n+1.
func numbered(n int) store.Span {
	var s store.Span
	binary.BigEndian.PutUint64(s.Trace[:], uint64(n/4)*0x9E3779B97F4A7C15)
	s.Trace[15] = 1
	binary.BigEndian.PutUint64(s.ID[:], uint64(n+1))
	if n%4 > 0 {
		binary.BigEndian.PutUint64(s.Parent[:], uint64(n/4*4+1))
	}
	s.Start, s.Duration = baseTime+int64(n)*1e6, int64(n%100)*1e6
	s.Service, s.Name, s.Node = fmt.Sprint("svc", n%3), fmt.Sprint("op", n%7), "n1"
	s.Resource = []store.Attr{{Key: "version", Str: "1"}}
	s.Attrs = []store.Attr{{Key: "n", Kind: store.AttrInt, Num: uint64(n)}, {Key: "parity", Str: [...]string{"even", "odd"}[n%2]}}
	return s
}

func numberedRange(from, to int) []store.Span {
	out := make([]store.Span, 0, to-from)
	for n := from; n < to; n++ {
		out = append(out, numbered(n))
	}
	return out
}

const childDir = "WEIR_SPANDB_TEST_CHILD_DIR"

// TestChild is the process that TestKill kills. It appends batches of ten, the next number given by
// its first argument in the environment, and prints the end of each batch once it is acknowledged.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child of TestKill")
	}
	next, err := strconv.Atoi(os.Getenv(childDir + "_NEXT"))
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(dir)
	c.HeadBytes = 1 << 16 // blocks are cut while it dies
	db, err := Open(c, quiet(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = db.Run(context.Background()) }()
	out := bufio.NewWriter(os.Stdout)
	for ; ; next += 10 {
		if err := db.Append(t.Context(), "default", numberedRange(next, next+10)); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(out, "acked %d\n", next+10)
		if err := out.Flush(); err != nil {
			return // the parent has gone
		}
	}
}

// TestKill: whatever was acknowledged before kill -9 is there afterwards, exactly once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for round := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childDir+"="+dir, childDir+"_NEXT="+strconv.Itoa(acked))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := acked + 300 + rand.IntN(1000)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d", &n); err == nil {
				acked = n
			}
			if acked >= stop {
				_ = cmd.Process.Kill()
				break
			}
		}
		for lines.Scan() { // what it still said
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d", &n); err == nil {
				acked = n
			}
		}
		_ = cmd.Wait()
		cancel()
		if acked < stop {
			t.Fatalf("round %d: the child stopped by itself at %d", round, acked)
		}
		db, err := Open(testConfig(dir), quiet(), metrics.NewSet())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkNumbered(t, db, acked)
		if err := db.shut(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d spans acknowledged over 3 kills, all there", acked)
}

// checkNumbered fails when one of the first n spans is not there exactly once.
func checkNumbered(t *testing.T, db *DB, n int) {
	t.Helper()
	for from := 0; from < n; from += 4 {
		first := numbered(from)
		got, err := db.Trace(t.Context(), "default", first.Trace)
		if err != nil {
			t.Fatalf("span %d of %d: %v", from, n, err)
		}
		want := min(4, n-from)
		if len(got) < want || len(got) > 4 {
			t.Fatalf("trace of span %d: %d spans, want %d", from, len(got), want)
		}
		for i := range want {
			if got[i].ID != numbered(from+i).ID || got[i].Attrs[0].Num != uint64(from+i) {
				t.Fatalf("span %d is %+v", from+i, got[i])
			}
		}
	}
}

// written makes a folder with records of ten spans in one segment and returns the segment's path.
func written(t *testing.T, records int) (Config, string) {
	t.Helper()
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	for r := range records {
		if err := db.Append(t.Context(), "default", numberedRange(r*10, r*10+10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	segs, err := filepath.Glob(filepath.Join(c.Dir, "default", dirWAL, "*"+walSuffix))
	if err != nil || len(segs) != 1 {
		t.Fatalf("segments %v, %v", segs, err)
	}
	return c, segs[0]
}

// TestFlippedLog: a damaged byte takes at most the record it is in, and never the process.
func TestFlippedLog(t *testing.T) {
	c, seg := written(t, 8)
	whole, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 7 {
		b := append([]byte(nil), whole...)
		b[at] ^= byte(1 << rand.IntN(8))
		lost := reopened(t, c, seg, b)
		if lost > 10 {
			t.Fatalf("byte %d of %d: %d spans lost, a record has 10", at, len(b), lost)
		}
		if lost != 10 {
			t.Fatalf("byte %d of %d: flipped, but %d spans lost: the checksum did not see it", at, len(b), lost)
		}
	}
}

// TestTornLog: a log cut anywhere keeps all records before the cut.
func TestTornLog(t *testing.T) {
	c, seg := written(t, 8)
	whole, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{0}
	for pos := 0; pos < len(whole); {
		_, n := readFrame(whole[pos:])
		if n == 0 {
			t.Fatalf("no frame at %d", pos)
		}
		pos += n
		ends = append(ends, pos)
	}
	for cut := 0; cut <= len(whole); cut += 5 {
		kept := 0
		for _, e := range ends {
			if e <= cut {
				kept++
			}
		}
		if lost, want := reopened(t, c, seg, whole[:cut]), 80-(kept-1)*10; lost != want {
			t.Fatalf("cut at %d: %d spans lost, want %d", cut, lost, want)
		}
	}
}

// reopened opens the database over a changed segment and counts what is missing of 80 spans.
func reopened(t *testing.T, c Config, seg string, b []byte) (lost int) {
	t.Helper()
	segs, err := filepath.Glob(filepath.Join(filepath.Dir(seg), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segs {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(seg, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, c)
	defer func() { _ = db.shut() }()
	for n := range 80 {
		s := numbered(n)
		spans, err := db.Trace(t.Context(), "default", s.Trace)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		found := false
		for i := range spans {
			found = found || spans[i].ID == s.ID
		}
		if !found {
			lost++
		}
	}
	// It must take new spans as well.
	if err := db.Append(t.Context(), "default", numberedRange(1000, 1001)); err != nil {
		t.Fatal(err)
	}
	return lost
}

// TestFlippedBlock: damage in a block's files never panics, is counted, and leaves other blocks alone.
func TestFlippedBlock(t *testing.T) {
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	for r := range 2 {
		if err := db.Append(t.Context(), "default", numberedRange(r*100, r*100+100)); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(c.Dir, "default", dirBlocks, "*"))
	if err != nil || len(dirs) != 2 {
		t.Fatalf("blocks %v, %v", dirs, err)
	}
	for _, name := range []string{fileSpans, fileIndex, fileTags, fileMeta} {
		path := filepath.Join(dirs[0], name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 25 {
			b := append([]byte(nil), whole...)
			at := rand.IntN(len(b))
			if rand.IntN(4) == 0 {
				b = b[:at]
			} else {
				b[at] ^= byte(1 << rand.IntN(8))
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			askAll(t, c, name, at)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db = mustOpen(t, c)
	checkNumbered(t, db, 200)
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
}

// askAll asks every kind of question; those to the whole block must be answered wholly.
func askAll(t *testing.T, c Config, name string, at int) {
	t.Helper()
	db := mustOpen(t, c)
	defer func() { _ = db.shut() }()
	for n := 0; n < 200; n += 4 {
		got, err := db.Trace(t.Context(), "default", numbered(n).Trace)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("%s damaged at %d: trace of span %d: %v", name, at, n, err)
		}
		if n >= 100 && len(got) != 4 {
			t.Fatalf("%s damaged at %d: trace of span %d of the other block: %d spans, %v", name, at, n, len(got), err)
		}
	}
	for _, q := range []store.SpanQuery{{Limit: 1000}, {Service: "svc1", Limit: 1000}, {Attrs: map[string]string{"parity": "odd"}, Limit: 1000}} {
		got, err := db.Search(t.Context(), "default", q)
		if err != nil || len(got) < 25 {
			t.Fatalf("%s damaged at %d: search %+v: %d traces, %v", name, at, q, len(got), err)
		}
	}
	if _, err := db.TagNames(t.Context(), "default", time.Time{}, time.Time{}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := db.TagValues(t.Context(), "default", "parity", time.Time{}, time.Time{}, 0); err != nil {
		t.Fatal(err)
	}
}
