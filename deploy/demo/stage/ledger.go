package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Entry is one thing an injector did.
type Entry struct {
	Kind   string `json:"kind"`   // dropped, doubled, filtered …
	Stage  string `json:"stage"`  // who did it
	Window int64  `json:"window"` // event window of the record, Unix seconds
	ID     string `json:"id"`
	N      int64  `json:"n,omitempty"` // how many records, when it is not one
	At     int64  `json:"at"`          // Unix milliseconds
}

// Ledger is the injector's own account of its faults: one JSON line each, written before the fault is done.
type Ledger struct {
	mu sync.Mutex
	f  *os.File
}

// OpenLedger appends to the file at path.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	return &Ledger{f: f}, nil
}

// Add writes one entry.
func (l *Ledger) Add(e Entry) error {
	e.At = time.Now().UnixMilli()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("cannot write the ledger: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.f.Close() }

// ReadLedgers reads the ledgers of all processes in dir.
func ReadLedgers(dir string) ([]Entry, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ledger"))
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			var e Entry
			if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
				f.Close()
				return nil, fmt.Errorf("cannot read ledger %q: %w", name, err)
			}
			out = append(out, e)
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
