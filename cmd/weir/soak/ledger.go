package soak

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// entry is one line of the ledger: a batch that was acknowledged, or the head of the file.
type entry struct {
	Run   string `json:"run,omitempty"`   // head
	Size  int    `json:"size,omitempty"`  // head: Config.Batch
	Epoch int64  `json:"epoch,omitempty"` // head: Unix milliseconds

	Kind  string `json:"k,omitempty"`
	Batch int    `json:"b,omitempty"`
	T     int64  `json:"t,omitempty"` // samples: time; cells: window; Unix ms, Unix s
	N     int    `json:"n,omitempty"` // samples, spans: items; cells: count in each cell
}

// ledger is the truth a check compares with. A line is on disk before the next batch is sent.
type ledger struct {
	mu   sync.Mutex
	f    *os.File
	head entry
}

// openLedger begins a new ledger, or goes on with the run of an old one.
func openLedger(path string, head entry) (*ledger, map[string]int, error) {
	old, err := readLedger(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot make ledger %q: %w", path, err)
		}
		l := &ledger{f: f, head: head}
		if err := l.add(head); err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return l, map[string]int{}, nil
	case err != nil:
		return nil, nil, err
	case old.head.Size != head.Size:
		return nil, nil, fmt.Errorf("cannot go on with ledger %q: its batches have %d samples, not %d; use the same figure or a new file", path, old.head.Size, head.Size)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open ledger %q: %w", path, err)
	}
	// A line that was torn when the sender was killed is cut off.
	if err := errors.Join(f.Truncate(old.bytes), seekEnd(f)); err != nil {
		return nil, nil, fmt.Errorf("cannot repair ledger %q: %w", path, err)
	}
	next := map[string]int{}
	for _, e := range old.entries {
		next[e.Kind] = max(next[e.Kind], e.Batch)
	}
	return &ledger{f: f, head: old.head}, next, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

func (l *ledger) add(e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("cannot encode ledger line: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("cannot write ledger: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("cannot sync ledger: %w", err)
	}
	return nil
}

func (l *ledger) close() error { return l.f.Close() }

type ledgerContent struct {
	head    entry
	entries []entry
	bytes   int64 // length of the whole lines
}

func readLedger(path string) (ledgerContent, error) {
	var c ledgerContent
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("cannot read ledger %q: %w", path, err)
	}
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		line, err := r.ReadBytes('\n')
		if err != nil { // a torn last line was not acknowledged as written
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return c, fmt.Errorf("cannot read ledger %q at byte %d: %w", path, c.bytes, err)
		}
		c.bytes += int64(len(line))
		if e.Run != "" {
			c.head = e
			continue
		}
		c.entries = append(c.entries, e)
	}
	if c.head.Run == "" {
		return c, fmt.Errorf("cannot use ledger %q: it has no head; remove it to begin anew", path)
	}
	return c, nil
}
