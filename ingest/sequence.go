package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/store"
)

// CollectorState is one collector as the server sees it.
type CollectorState struct {
	Tenant   store.Tenant
	Node     string
	Epoch    int64  // start of the collector, Unix milliseconds
	LastSeen int64  // newest request, Unix milliseconds
	Gaps     uint64 // records of its spools between the first and the newest seen that never arrived
	// Unverified counts records around a kill of the server: they may have been received just before it,
	// after sequence numbers were last written down. What was acknowledged is stored in any case.
	Unverified uint64
	Spools     int
}

// sequences follows the record numbers of every spool and finds holes in them.
//
// Numbers are written to the catalog lazily. A stop in order writes them once more and marks them
// complete, so a restart neither invents nor hides a hole. After a kill, the numbers between the
// last ones written and the first one seen again cannot be judged: they are counted as unverified.
type sequences struct {
	max     int
	flush   time.Duration
	catalog func() store.Catalog
	log     *slog.Logger

	mu      sync.Mutex
	tenants map[store.Tenant]*tenantSpools
	count   int  // spools of all tenants
	stopped bool // Run has written the numbers for the last time
}

type tenantSpools struct {
	loaded bool
	dirty  bool
	spools map[string]*spoolState
}

// spoolState is also the form in the catalog.
type spoolState struct {
	Node       string `json:"node"`
	Epoch      int64  `json:"epoch"`
	LastSeen   int64  `json:"last_seen"`
	Seen       seen   `json:"seen"`
	Unverified uint64 `json:"unverified,omitempty"`
	// resume is set when numbers above Seen may have been received before a kill.
	resume bool
}

type sequenceDoc struct {
	Complete bool                   `json:"complete"`
	Spools   map[string]*spoolState `json:"spools"`
}

const (
	sequenceKind = "ingest"
	sequenceName = "sequences"
)

func newSequences(cfg Config, engine store.Engine, log *slog.Logger) *sequences {
	return &sequences{
		max: cfg.MaxSpools, flush: cfg.SequenceFlush, log: log,
		// Asked for when needed: an engine may open its parts late.
		catalog: func() store.Catalog { return engine.Catalog() },
		tenants: map[store.Tenant]*tenantSpools{},
	}
}

// note takes the headers of a request that was dealt with for good.
func (s *sequences) note(ctx context.Context, t store.Tenant, h http.Header) {
	spool := h.Get("Weir-Spool")
	if spool == "" || len(spool) > maxName {
		return
	}
	n, err := strconv.ParseUint(h.Get("Weir-Sequence"), 10, 63)
	if err != nil || n == 0 {
		return
	}
	epoch, _ := strconv.ParseInt(h.Get("Weir-Epoch"), 10, 64)
	node := strings.ToValidUTF8(cutTo(h.Get("Weir-Node"), maxName), "")

	s.mu.Lock()
	defer s.mu.Unlock()
	ts := s.tenant(ctx, t)
	st := ts.spools[spool]
	if st == nil {
		s.makeRoom()
		st = &spoolState{}
		ts.spools[spool] = st
		s.count++
	}
	st.Node, st.LastSeen = node, time.Now().UnixMilli()
	st.Epoch = max(st.Epoch, epoch)
	if st.resume && n > st.Seen.max() {
		st.Unverified += st.Seen.jump(n)
		st.resume = false
	}
	st.Seen.add(n)
	ts.dirty = true
	if s.stopped && ts.loaded { // a request that ended after Run did
		if err := s.save(context.WithoutCancel(ctx), t, ts, true); err != nil {
			s.log.Warn("sequence numbers of spools not written", "error", err)
		}
	}
}

// tenant returns the spools of t, read from the catalog the first time. s.mu is held.
func (s *sequences) tenant(ctx context.Context, t store.Tenant) *tenantSpools {
	ts := s.tenants[t]
	if ts == nil {
		ts = &tenantSpools{spools: map[string]*spoolState{}}
		s.tenants[t] = ts
	}
	if ts.loaded {
		return ts
	}
	doc, err := s.load(ctx, t)
	if err != nil && ctx.Err() != nil {
		return ts // the server stops: nothing to try again, and nothing to worry about
	}
	if err != nil {
		s.log.Warn("sequence numbers of spools not read, will try again", "tenant", string(t), "error", err)
		return ts
	}
	ts.loaded = true
	for name, st := range doc.Spools {
		have := ts.spools[name]
		if have == nil {
			st.resume = !doc.Complete
			ts.spools[name] = st
			s.count++
			continue
		}
		// Seen before the catalog could be read: what lies between cannot be judged.
		st.Unverified += st.Seen.jump(have.Seen.Runs[0].From)
		for _, r := range have.Seen.Runs {
			st.Seen.add(r.From)
			if last := len(st.Seen.Runs) - 1; st.Seen.Runs[last].To < r.To {
				st.Seen.Runs[last].To = r.To
			}
		}
		st.Node, st.Epoch, st.LastSeen = have.Node, have.Epoch, have.LastSeen
		ts.spools[name] = st
	}
	if doc.Complete {
		// From now on the catalog is behind; a kill must find it so.
		if err := s.save(ctx, t, ts, false); err != nil {
			s.log.Warn("sequence numbers of spools not marked as open", "tenant", string(t), "error", err)
		}
	}
	return ts
}

func (s *sequences) load(ctx context.Context, t store.Tenant) (sequenceDoc, error) {
	doc := sequenceDoc{}
	d, err := s.catalog().Get(ctx, t, sequenceKind, sequenceName)
	if errors.Is(err, store.ErrNotFound) {
		return doc, nil
	}
	if err != nil {
		return doc, fmt.Errorf("cannot read sequence numbers of tenant %q: %w", t, err)
	}
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		s.log.Error("sequence numbers of spools are damaged and begin anew", "tenant", string(t), "error", err)
		return sequenceDoc{}, nil
	}
	for name, st := range doc.Spools {
		if st == nil || len(st.Seen.Runs) == 0 {
			delete(doc.Spools, name)
		}
	}
	return doc, nil
}

func (s *sequences) save(ctx context.Context, t store.Tenant, ts *tenantSpools, complete bool) error {
	body, err := json.Marshal(sequenceDoc{Complete: complete, Spools: ts.spools})
	if err != nil {
		return fmt.Errorf("cannot encode sequence numbers: %w", err)
	}
	if _, err := s.catalog().Put(ctx, t, sequenceKind, sequenceName, body, -1, "ingest"); err != nil {
		return fmt.Errorf("cannot write sequence numbers of tenant %q: %w", t, err)
	}
	return nil
}

// makeRoom forgets the longest silent spool when there are too many. s.mu is held.
func (s *sequences) makeRoom() {
	if s.count < s.max {
		return
	}
	var where *tenantSpools
	var oldest string
	var at int64
	for _, ts := range s.tenants {
		for name, st := range ts.spools {
			if where == nil || st.LastSeen < at {
				where, oldest, at = ts, name, st.LastSeen
			}
		}
	}
	if where != nil {
		s.log.Warn("too many spools, the longest silent is forgotten", "spool", oldest, "limit", s.max)
		delete(where.spools, oldest)
		s.count--
	}
}

func (s *sequences) run(ctx context.Context) error {
	s.mu.Lock()
	s.tenant(ctx, store.DefaultTenant) // so that the Self page knows old collectors at once
	s.mu.Unlock()
	tick := time.NewTicker(s.flush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.saveAll(ctx, false) // logged there; the next tick tries again
		case <-ctx.Done():
			return s.lastWords(ctx)
		}
	}
}

func (s *sequences) lastWords(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.saveAll(ctx, true)
}

func (s *sequences) saveAll(ctx context.Context, complete bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = complete
	var errs []error
	for t, ts := range s.tenants {
		if !ts.loaded || len(ts.spools) == 0 || !ts.dirty && !complete {
			continue
		}
		if err := s.save(ctx, t, ts, complete); err != nil {
			s.log.Warn("sequence numbers of spools not written", "error", err)
			errs = append(errs, err)
			continue
		}
		ts.dirty = false
	}
	return errors.Join(errs...)
}

// total is the number of missing records over all spools.
func (s *sequences) total() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range s.tenants {
		for _, st := range ts.spools {
			n += st.Seen.missing()
		}
	}
	return n
}

func (s *sequences) collectors() []CollectorState {
	s.mu.Lock()
	defer s.mu.Unlock()
	type key struct {
		t    store.Tenant
		node string
	}
	by := map[key]*CollectorState{}
	for t, ts := range s.tenants {
		for _, st := range ts.spools {
			c := by[key{t, st.Node}]
			if c == nil {
				c = &CollectorState{Tenant: t, Node: st.Node}
				by[key{t, st.Node}] = c
			}
			c.Epoch, c.LastSeen = max(c.Epoch, st.Epoch), max(c.LastSeen, st.LastSeen)
			c.Gaps += st.Seen.missing()
			c.Unverified += st.Unverified
			c.Spools++
		}
	}
	out := make([]CollectorState, 0, len(by))
	for _, c := range by {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b CollectorState) int {
		return strings.Compare(string(a.Tenant)+"\x00"+a.Node, string(b.Tenant)+"\x00"+b.Node)
	})
	return out
}
