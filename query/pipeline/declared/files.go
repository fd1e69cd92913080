package declared

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
)

// Files are the declarations in pipelines.dir: *.yaml for the default tenant, TENANT/*.yaml for others. They are safe for
// concurrent use.
type Files struct {
	dir string
	log *slog.Logger
	bad *metrics.Counter

	mu   sync.Mutex
	next int64
	seen map[string]file // by path
	docs map[store.Tenant]map[string]*Document
	told map[string]string // complaints that were logged, by path
}

// NewFiles builds what reads the files of a folder; of an empty one there are none. bad counts those that cannot be used.
func NewFiles(dir string, log *slog.Logger, bad *metrics.Counter) *Files {
	return &Files{dir: dir, log: log, bad: bad}
}

type file struct {
	size, at int64
	d        *Document
	id       string
}

// Bounds of the folder.
const (
	maxFiles = 10_000
	maxBytes = 1 << 20
)

// read returns the declarations of a tenant, looking at the folder every few seconds. What cannot be read stays as it
// was and is logged once. What it returns is replaced, never changed: others have it too.
func (f *Files) read(t store.Tenant, now int64) map[string]*Document {
	if f.dir == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now < f.next && f.docs != nil {
		return f.docs[t]
	}
	f.next = now + 3000
	seen, docs, told := map[string]file{}, map[store.Tenant]map[string]*Document{}, map[string]string{}
	complain := func(path string, err error) {
		if told[path] = err.Error(); f.told[path] != told[path] {
			f.bad.Inc()
			f.log.Warn("cannot use a declared pipeline", "file", path, "error", err)
		}
	}
	paths, err := pathsIn(f.dir)
	if err != nil {
		complain(f.dir, err)
		f.told = told
		return f.docs[t]
	}
	for _, p := range paths {
		old, known := f.seen[p.path]
		cur, err := p.load(old, known)
		if err != nil {
			complain(p.path, err)
			if !known {
				continue
			}
			cur = old
		}
		if cur.d.err != nil {
			complain(p.path, cur.d.err)
			if known && old.d.doc != nil && cur.d.doc == nil { // the last good one stays in force
				cur.d.doc, cur.id = old.d.doc, old.id // cur.d is new: nobody has it yet
			}
		}
		seen[p.path] = cur
		if cur.id == "" {
			continue
		}
		m := docs[p.tenant]
		if m == nil {
			m = map[string]*Document{}
			docs[p.tenant] = m
		}
		if other := m[cur.id]; other != nil {
			complain(p.path, fmt.Errorf("pipeline %q stands in %q as well: leave one of them out", cur.id, other.File))
			continue
		}
		m[cur.id] = cur.d
	}
	f.seen, f.docs, f.told = seen, docs, told
	return f.docs[t]
}

type place struct {
	path   string
	tenant store.Tenant
}

func (p place) load(old file, known bool) (file, error) {
	st, err := os.Stat(p.path)
	if err != nil {
		return file{}, fmt.Errorf("cannot look at it: %w", err)
	}
	if known && old.size == st.Size() && old.at == st.ModTime().UnixNano() {
		return old, nil
	}
	if st.Size() > maxBytes {
		return file{}, fmt.Errorf("cannot read it: it has %d bytes, at most %d are possible", st.Size(), maxBytes)
	}
	raw, err := os.ReadFile(p.path)
	if err != nil {
		return file{}, fmt.Errorf("cannot read it: %w", err)
	}
	d := parse(string(raw))
	d.File, d.At = p.path, st.ModTime().UnixMilli()
	f := file{size: st.Size(), at: st.ModTime().UnixNano(), d: d}
	if d.doc != nil {
		f.id = d.doc.ID
	}
	return f, nil
}

// pathsIn lists the files of the folder, sorted.
func pathsIn(dir string) ([]place, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read pipelines.dir %q: there is no such folder; make it, or leave pipelines.dir empty: %w", dir, err)
		}
		return nil, fmt.Errorf("cannot read pipelines.dir %q: %w", dir, err)
	}
	var out []place
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case isYAML(e.Name()):
			out = append(out, place{path, store.DefaultTenant})
		case e.IsDir():
			below, err := os.ReadDir(path)
			if err != nil {
				return nil, fmt.Errorf("cannot read %q: %w", path, err)
			}
			for _, b := range below {
				if isYAML(b.Name()) && !strings.HasPrefix(b.Name(), ".") {
					out = append(out, place{filepath.Join(path, b.Name()), store.Tenant(e.Name())})
				}
			}
		}
		if len(out) > maxFiles {
			return nil, fmt.Errorf("cannot read pipelines.dir %q: it holds more than %d files", dir, maxFiles)
		}
	}
	slices.SortFunc(out, func(a, b place) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// CheckDir reads all declarations of a folder and tells the first mistakes of each, as `weir check` does. n is how many
// are good.
func CheckDir(dir string) (n int, err error) {
	paths, err := pathsIn(dir)
	if err != nil {
		return 0, err
	}
	var errs []error
	ids := map[place]string{}
	for _, p := range paths {
		f, err := p.load(file{}, false)
		if err == nil {
			err = f.d.err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot use %q: %w", p.path, err))
			continue
		}
		k := place{f.id, p.tenant}
		if other := ids[k]; other != "" {
			errs = append(errs, fmt.Errorf("cannot use %q: pipeline %q stands in %q as well: leave one of them out", p.path, f.id, other))
			continue
		}
		ids[k] = p.path
		n++
	}
	return n, errors.Join(errs...)
}
