package spandb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/weirhq/weir/store"
)

const defaultLimit = 20

// query is a SpanQuery made ready: times in nanoseconds, From ≤ start < To.
type query struct {
	from, to       int64
	service, name  string
	status         store.SpanStatus
	minDur, maxDur int64
	attrs          []attrCond
	limit          int
}

// attrCond asks for an attribute, a resource attribute, or a field under its tag name.
type attrCond struct {
	key, value string
	field      string // tagNode and so on when key names a field, else ""
	hash       uint64
	number     bool // value may be that of a number or bool, which is not kept as text
}

func makeQuery(q store.SpanQuery) query {
	out := query{
		from: math.MinInt64, to: math.MaxInt64, service: q.Service, name: q.Name, status: q.Status,
		minDur: int64(q.MinDuration), maxDur: int64(q.MaxDuration), limit: q.Limit,
	}
	if !q.From.IsZero() {
		out.from = nanos(q.From)
	}
	if !q.To.IsZero() {
		out.to = nanos(q.To)
	}
	if out.limit <= 0 {
		out.limit = defaultLimit
	}
	for k, v := range q.Attrs {
		c := attrCond{key: k, value: v}
		switch f := fieldOf(k); f {
		case tagService, tagName, tagNode, tagContainer, tagStatus, tagKind:
			c.field = f
		}
		c.hash = hashTag(k, v)
		_, err := strconv.ParseFloat(v, 64) // reads integers too
		c.number = err == nil || v == "true" || v == "false"
		out.attrs = append(out.attrs, c)
	}
	slices.SortFunc(out.attrs, func(a, b attrCond) int { return cmp.Compare(a.key, b.key) })
	return out
}

// nanos is UnixNano without its overflow.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s > math.MaxInt64/1_000_000_000-1:
		return math.MaxInt64
	case s < math.MinInt64/1_000_000_000+1:
		return math.MinInt64
	}
	return t.UnixNano()
}

// matchCheap tests what an entry of the head knows.
func (q *query) matchCheap(e *entry, rec *record) bool {
	if e.start < q.from || e.start >= q.to || e.dur < q.minDur || q.maxDur > 0 && e.dur > q.maxDur {
		return false
	}
	if q.status != store.StatusUnset && e.status != q.status {
		return false
	}
	return (q.service == "" || rec.res[e.res].service == q.service) && (q.name == "" || rec.strs[e.name] == q.name)
}

// match tests a whole span.
func (q *query) match(s store.Span) bool {
	return s.Start >= q.from && s.Start < q.to && s.Duration >= q.minDur && (q.maxDur <= 0 || s.Duration <= q.maxDur) &&
		(q.status == store.StatusUnset || s.Status == q.status) &&
		(q.service == "" || s.Service == q.service) && (q.name == "" || s.Name == q.name) && q.matchAttrs(&s)
}

// matchAttrs tests the attributes of a whole span.
func (q *query) matchAttrs(s *store.Span) bool {
	for i := range q.attrs {
		if !q.attrs[i].match(s) {
			return false
		}
	}
	return true
}

func (c *attrCond) match(s *store.Span) bool {
	return c.matchField(s) || hasAttr(s.Attrs, c.key, c.value) || hasAttr(s.Resource, c.key, c.value)
}

func (c *attrCond) matchField(s *store.Span) bool {
	switch c.field {
	case tagService:
		return s.Service == c.value
	case tagName:
		return s.Name == c.value
	case tagNode:
		return s.Node == c.value
	case tagContainer:
		return s.Container == c.value
	case tagStatus:
		return s.Status.String() == c.value
	case tagKind:
		return s.Kind.String() == c.value
	}
	return false
}

func hasAttr(as []store.Attr, key, value string) bool {
	var buf [64]byte
	for i := range as {
		if as[i].Key != key {
			continue
		}
		if k := as[i].Kind; k == store.AttrString || k == store.AttrJSON {
			if as[i].Str == value {
				return true
			}
		} else if string(appendText(buf[:0], &as[i])) == value {
			return true
		}
	}
	return false
}

// hit is a trace that matched somewhere. Its true start is not later than start.
type hit struct {
	id    store.TraceID
	start int64
}

// searchChunk returns the matching spans of a chunk of a head, a trace perhaps more than once.
func (q *query) searchChunk(v *view, chunk int) []hit {
	var out []hit
	var s store.Span
	var arena []store.Attr
	last, may := -1, false
	for i := range v.chunks[chunk] {
		e := &v.chunks[chunk][i]
		rec := v.recs[e.rec]
		if int(e.rec) != last {
			last, may = int(e.rec), q.recordMay(rec)
		}
		if !may || !q.matchCheap(e, rec) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].id == e.trace {
			continue
		}
		if len(q.attrs) > 0 {
			arena = arena[:0]
			rec.decode(e.off, &s, &arena)
			if !q.matchAttrs(&s) {
				continue
			}
		}
		out = append(out, hit{e.trace, e.start})
	}
	return out
}

// recordMay tells from the strings of a record whether its spans can meet the conditions.
func (q *query) recordMay(rec *record) bool {
	if q.name != "" && !slices.Contains(rec.strs, q.name) || q.service != "" && !slices.Contains(rec.strs, q.service) {
		return false
	}
	for i := range q.attrs {
		c := &q.attrs[i]
		if c.field != "" {
			continue
		}
		if !slices.Contains(rec.strs, c.key) || !c.number && !slices.Contains(rec.strs, c.value) {
			return false
		}
	}
	return true
}

// source is a place to look for matches: a row group of a block or a chunk of a head.
type source struct {
	start int64 // no trace in it starts later
	b     *block
	v     *view
	n     int
}

// Search returns the newest matching traces first. A span matches with From ≤ start < To. Of a span
// id sent twice with different content the first counts, wherever the two lie.
func (db *DB) Search(ctx context.Context, t store.Tenant, sq store.SpanQuery) ([]store.TraceSummary, error) {
	tn, err := db.reading(ctx, t)
	if tn == nil {
		return nil, err
	}
	q := makeQuery(sq)
	views, blocks, done := tn.snapshot()
	defer done()
	s := searcher{db: db, ctx: ctx, q: &q, views: views, blocks: blocks, seen: map[store.TraceID]struct{}{}}
	for _, src := range s.sources() {
		if s.full(src.start) {
			break
		}
		if err := s.look(src); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

// searcher gathers the newest traces.
type searcher struct {
	db     *DB
	ctx    context.Context //nolint:containedctx // lives for one search
	q      *query
	views  []view
	blocks []*block
	seen   map[store.TraceID]struct{}
	found  []store.TraceSummary // newest first, at most limit
}

// sources lists the places worth reading, newest first.
func (s *searcher) sources() []source {
	var out []source
	for i := range s.views {
		v := &s.views[i]
		for c, sp := range v.spread {
			if sp.max >= s.q.from && sp.min < s.q.to {
				out = append(out, source{start: sp.max, v: v, n: c})
			}
		}
	}
	for _, b := range s.blocks {
		if !s.q.blockMay(b.meta) {
			continue
		}
		for g := range b.meta.RowGroups {
			if m := &b.meta.RowGroups[g]; s.q.groupMay(m) {
				out = append(out, source{start: m.FirstStart, b: b, n: g})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b source) int { return cmp.Compare(b.start, a.start) })
	return out
}

// full reports whether nothing that starts at start or before can get into the result.
func (s *searcher) full(start int64) bool {
	return len(s.found) == s.q.limit && s.found[len(s.found)-1].Start > start
}

func (s *searcher) look(src source) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if src.v != nil {
		return s.take(s.q.searchChunk(src.v, src.n))
	}
	if err := src.b.use(); err != nil {
		return s.db.damaged(src.b, err)
	}
	defer src.b.release()
	hits, err := src.b.search(s.q, src.n)
	if err != nil {
		return s.db.damaged(src.b, err)
	}
	return s.take(hits)
}

// take resolves hits, newest first, while they can still get into the result.
func (s *searcher) take(hits []hit) error {
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.start, a.start), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, h := range hits {
		if s.full(h.start) {
			return nil
		}
		if _, dup := s.seen[h.id]; dup {
			continue
		}
		s.seen[h.id] = struct{}{}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		sum, ok, err := s.summary(h.id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		at, _ := slices.BinarySearchFunc(s.found, sum, newestFirst)
		s.found = slices.Insert(s.found, at, sum)
		s.found = s.found[:min(len(s.found), s.q.limit)]
	}
	return nil
}

func newestFirst(a, b store.TraceSummary) int {
	return cmp.Or(cmp.Compare(b.Start, a.Start), bytes.Compare(a.Trace[:], b.Trace[:]))
}

// summary of a trace over all places. Where one block has all of it, its index answers.
func (s *searcher) summary(id store.TraceID) (store.TraceSummary, bool, error) {
	var in []*block
	h := hashTrace(id)
	for _, b := range s.blocks {
		if b.mayHold(h) {
			in = append(in, b)
		}
	}
	heads, err := s.inHeads(id)
	if err != nil {
		return store.TraceSummary{}, false, err
	}
	if len(heads) == 0 {
		sum, n, err := s.fromIndex(id, in)
		if err != nil || n <= 1 {
			return sum, n == 1, err
		}
	}
	var spans []store.Span
	for _, b := range in {
		more, err := s.db.readTrace(b, id)
		if err != nil {
			return store.TraceSummary{}, false, err
		}
		spans = append(spans, more...)
	}
	spans = uniqueSpans(append(spans, heads...))
	// What matched may have been the second form of a span sent twice, which nobody gets to see.
	return summarize(id, spans), slices.ContainsFunc(spans, s.q.match), nil
}

func (s *searcher) inHeads(id store.TraceID) ([]store.Span, error) {
	var spans []store.Span
	for i := range s.views {
		spans = append(spans, s.views[i].trace(id)...)
	}
	return spans, s.ctx.Err()
}

// fromIndex returns the summary when exactly one block holds the trace, and how many do.
func (s *searcher) fromIndex(id store.TraceID, in []*block) (sum store.TraceSummary, n int, err error) {
	for _, b := range in {
		if err := b.use(); err != nil {
			if err := s.db.damaged(b, err); err != nil {
				return sum, n, err
			}
			continue
		}
		t, ok, err := b.info(id)
		b.release()
		if err != nil {
			if err := s.db.damaged(b, err); err != nil {
				return sum, n, err
			}
			continue
		}
		if !ok {
			continue
		}
		if n++; n > 1 {
			return sum, n, nil
		}
		if t.root == 0 {
			// No root here: the earliest span stands for it, which only the rows tell.
			n = 2
			return sum, n, nil
		}
		sum = store.TraceSummary{
			Trace: id, Start: t.start, Duration: t.end - t.start, Spans: int(t.rows), Errors: int(t.errors),
			RootService: b.meta.Roots[t.root-1][0], RootName: b.meta.Roots[t.root-1][1],
			Services: slices.Clone(b.meta.Sets[t.set]),
		}
	}
	return sum, n, nil
}

// summarize makes a summary of the spans of a trace, sorted by start.
func summarize(id store.TraceID, spans []store.Span) store.TraceSummary {
	sum := store.TraceSummary{Trace: id, Spans: len(spans)}
	var end int64
	root := -1
	for i := range spans {
		s := &spans[i]
		if i == 0 {
			sum.Start, end = s.Start, s.Start
		}
		end = max(end, spanEnd(s.Start, s.Duration))
		if s.Status == store.StatusError {
			sum.Errors++
		}
		if root < 0 && s.Parent == (store.SpanID{}) {
			root = i
		}
		if !slices.Contains(sum.Services, s.Service) {
			sum.Services = append(sum.Services, s.Service)
		}
	}
	if len(spans) > 0 {
		sum.RootService, sum.RootName = spans[max(root, 0)].Service, spans[max(root, 0)].Name
	}
	sum.Duration = end - sum.Start
	slices.Sort(sum.Services)
	return sum
}

// uniqueSpans sorts by start and id and keeps each span id once; the first of spans wins.
func uniqueSpans(spans []store.Span) []store.Span {
	seen := make(map[store.SpanID]struct{}, len(spans))
	out := spans[:0]
	for i := range spans {
		if _, dup := seen[spans[i].ID]; dup {
			continue
		}
		seen[spans[i].ID] = struct{}{}
		out = append(out, spans[i])
	}
	slices.SortFunc(out, func(a, b store.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// Trace returns all spans of a trace by start time, each once.
func (db *DB) Trace(ctx context.Context, t store.Tenant, id store.TraceID) ([]store.Span, error) {
	tn, err := db.reading(ctx, t)
	if err != nil {
		return nil, err
	}
	if tn == nil {
		return nil, store.ErrNotFound
	}
	views, blocks, done := tn.snapshot()
	defer done()
	var spans []store.Span
	h := hashTrace(id)
	for _, b := range blocks {
		if !b.mayHold(h) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := db.readTrace(b, id)
		if err != nil {
			return nil, err
		}
		spans = append(spans, more...)
	}
	for i := range views { // frozen heads before the open one: what came first wins
		spans = append(spans, views[i].trace(id)...)
	}
	if len(spans) == 0 {
		return nil, store.ErrNotFound
	}
	return uniqueSpans(spans), nil
}

// readTrace reads a trace of a block; a damaged block counts as empty, see damaged.
func (db *DB) readTrace(b *block, id store.TraceID) ([]store.Span, error) {
	if err := b.use(); err != nil {
		return nil, db.damaged(b, err)
	}
	defer b.release()
	spans, err := b.trace(id)
	if err != nil {
		return nil, db.damaged(b, err)
	}
	return spans, nil
}

// damaged counts and logs damage of a block and lets the query go on without it; other errors are
// returned. A block that retention took away under a query is no damage.
func (db *DB) damaged(b *block, err error) error {
	if errors.Is(err, os.ErrNotExist) && b.isGone() {
		return nil
	}
	if !errors.Is(err, errBlock) {
		return err
	}
	db.m.damagedReads.Inc()
	db.log.Error("cannot read span block", "block", b.dir, "error", err)
	return nil
}
