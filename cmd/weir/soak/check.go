package soak

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/internal/cell"
)

// check compares the ledger with the server. Only spans sent through a collector may still be on their way:
// for them it looks again until Settle has passed.
func (s *soak) check(ctx context.Context) (Report, error) {
	led, err := readLedger(s.cfg.Ledger)
	if err != nil {
		return Report{}, err
	}
	by := map[string][]entry{}
	for _, e := range led.entries {
		by[e.Kind] = append(by[e.Kind], e)
	}
	rep := Report{Run: led.head.Run, Checked: true}
	for kind, entries := range by {
		var line Line
		switch kind {
		case Samples:
			line, err = s.checkSamples(ctx, led.head, entries)
		case Spans:
			line, err = s.checkSpans(ctx, led.head, kind, entries)
		case CollectorSpans:
			line, err = s.checkSettled(ctx, led.head, kind, entries)
		case Cells:
			line, err = s.checkCells(ctx, led.head, entries)
		default:
			err = fmt.Errorf("cannot check kind %q of ledger %q: it was written by a newer version", kind, s.cfg.Ledger)
		}
		if err != nil {
			return rep, err
		}
		line.Kind, line.Batches = kind, len(entries)
		rep.Lines = append(rep.Lines, line)
	}
	sortLines(rep.Lines)
	return rep, nil
}

func sortLines(l []Line) {
	slices.SortFunc(l, func(a, b Line) int { return cmp.Compare(a.Kind, b.Kind) })
}

func (l *Line) example(format string, args ...any) {
	if len(l.Examples) < 5 {
		l.Examples = append(l.Examples, fmt.Sprintf(format, args...))
	}
}

// get reads JSON into out; any answer but 200 is an error, except 404, which leaves out empty.
func (s *soak) get(ctx context.Context, path string, q url.Values, out any) error {
	u := s.cfg.Server + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return fmt.Errorf("cannot make request: %w", err)
	}
	code, text, err := s.do(r, 256<<20)
	switch {
	case err != nil:
		return err
	case code == http.StatusNotFound:
		return nil
	case code != http.StatusOK:
		return fmt.Errorf("cannot read %q: %d %s", u, code, text[:min(len(text), 500)])
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		return fmt.Errorf("cannot decode the answer of %q: %w", u, err)
	}
	return nil
}

type matrix struct {
	Data struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// checkSamples asks for the raw samples, half a minute at a time: a range selector returns every one.
func (s *soak) checkSamples(ctx context.Context, head entry, entries []entry) (Line, error) {
	var line Line
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.T, b.T) })
	const chunk = 30_000
	for i := 0; i < len(entries); {
		from := entries[i].T - 1 // ranges are open on the left
		j := i
		for j < len(entries) && entries[j].T <= from+chunk {
			j++
		}
		var m matrix
		q := url.Values{
			"query": {fmt.Sprintf("%s{run=%q}[%dms]", sampleName, head.Run, chunk)},
			"time":  {strconv.FormatFloat(float64(from+chunk)/1000, 'f', 3, 64)},
		}
		if err := s.get(ctx, "/api/v1/query", q, &m); err != nil {
			return line, err
		}
		if m.Data.ResultType != "matrix" {
			return line, fmt.Errorf("cannot check samples: the answer to %s is a %q, not a matrix", q.Get("query"), m.Data.ResultType)
		}
		if err := compareSamples(&line, head, entries[i:j], m); err != nil {
			return line, err
		}
		i = j
	}
	return line, nil
}

func compareSamples(line *Line, head entry, entries []entry, m matrix) error {
	type at struct {
		series string
		t      int64
	}
	got := map[at][]float64{}
	for _, r := range m.Data.Result {
		for _, v := range r.Values {
			sec, ok := v[0].(float64)
			text, ok2 := v[1].(string)
			val, err := strconv.ParseFloat(text, 64)
			if !ok || !ok2 || err != nil {
				return fmt.Errorf("cannot read sample %v", v)
			}
			k := at{r.Metric["series"], int64(sec*1000 + 0.5)}
			got[k] = append(got[k], val)
		}
	}
	for _, e := range entries {
		for i := range head.Size {
			line.Acknowledged++
			vs := got[at{strconv.Itoa(i), e.T}]
			switch {
			case len(vs) == 0:
				line.Missing++
				line.example("batch %d, series %d at %d is missing", e.Batch, i, e.T)
			case len(vs) > 1:
				line.Doubled++
				line.example("batch %d, series %d at %d is there %d times", e.Batch, i, e.T, len(vs))
			case vs[0] != float64(e.Batch):
				line.Wrong++
				line.example("batch %d, series %d at %d has value %v", e.Batch, i, e.T, vs[0])
			default:
				line.Present++
			}
		}
	}
	return nil
}

func (s *soak) checkSettled(ctx context.Context, head entry, kind string, entries []entry) (Line, error) {
	end := time.Now().Add(s.cfg.Settle)
	for {
		line, err := s.checkSpans(ctx, head, kind, entries)
		if err != nil || line.Missing == 0 || time.Now().After(end) {
			return line, err
		}
		select {
		case <-ctx.Done():
			return line, nil
		case <-time.After(time.Second):
		}
	}
}

func (s *soak) checkSpans(ctx context.Context, head entry, kind string, entries []entry) (Line, error) {
	lines := make([]Line, len(entries))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, e := range entries {
		g.Go(func() error { return s.checkTrace(ctx, head, kind, e, &lines[i]) })
	}
	err := g.Wait()
	var sum Line
	for _, l := range lines {
		sum.Acknowledged += l.Acknowledged
		sum.Present += l.Present
		sum.Missing += l.Missing
		sum.Doubled += l.Doubled
		for _, e := range l.Examples {
			sum.example("%s", e)
		}
	}
	return sum, err
}

func (s *soak) checkTrace(ctx context.Context, head entry, kind string, e entry, line *Line) error {
	var trace struct {
		Spans []struct {
			ID string `json:"id"`
		} `json:"spans"`
	}
	id := traceID(head.Run, kind, e.Batch)
	if err := s.get(ctx, "/api/v1/traces/"+hex.EncodeToString(id[:]), nil, &trace); err != nil {
		return err
	}
	count := map[string]int{}
	for _, sp := range trace.Spans {
		count[strings.ToLower(sp.ID)]++
	}
	for i := range e.N {
		line.Acknowledged++
		sid := spanID(head.Run, kind, e.Batch, i)
		switch n := count[hex.EncodeToString(sid[:])]; n {
		case 0:
			line.Missing++
			line.example("batch %d, span %x of trace %x is missing", e.Batch, sid, id)
		case 1:
			line.Present++
		default:
			line.Doubled++
			line.example("batch %d, span %x of trace %x is there %d times", e.Batch, sid, id, n)
		}
	}
	return nil
}

// checkCells wants, for each window, the newest acknowledged snapshot or a later one that was stored
// but whose answer was lost. Every batch counts, so that figures add up; each cell must be there once.
func (s *soak) checkCells(ctx context.Context, head entry, entries []entry) (Line, error) {
	var line Line
	last := map[int64]entry{}
	batches := map[int64]int{}
	for _, e := range entries {
		batches[e.T]++
		if e.Batch > last[e.T].Batch {
			last[e.T] = e
		}
	}
	for window, e := range last {
		var answer struct {
			Cells []cell.Cell `json:"cells"`
		}
		q := url.Values{
			"pipeline": {pipelineOf(head.Run)},
			"from":     {strconv.FormatInt(window*1000, 10)}, "to": {strconv.FormatInt(window*1000+1000, 10)},
		}
		if err := s.get(ctx, "/api/v1/audit/cells", q, &answer); err != nil {
			return line, err
		}
		by := map[string][]cell.Cell{}
		for _, c := range answer.Cells {
			if c.Window == window {
				by[c.Stage] = append(by[c.Stage], c)
			}
		}
		for i := range head.Size / 10 {
			n := batches[window]
			line.Acknowledged += n
			cs := by[stageOf(i)]
			switch {
			case len(cs) == 0:
				line.Missing += n
				line.example("window %d, %s is missing", window, stageOf(i))
			case len(cs) > 1:
				line.Doubled += n
				line.example("window %d, %s is there %d times", window, stageOf(i), len(cs))
			case cs[0].Seq < uint64(e.Batch):
				line.Missing += e.Batch - int(cs[0].Seq)
				line.Present += max(0, n-(e.Batch-int(cs[0].Seq)))
				line.example("window %d, %s has snapshot %d, acknowledged was %d", window, stageOf(i), cs[0].Seq, e.Batch)
			case cs[0].Seq == uint64(e.Batch) && cs[0].N != uint64(e.N), cs[0].N < uint64(e.N):
				line.Wrong += n
				line.example("window %d, %s counts %d, acknowledged was %d", window, stageOf(i), cs[0].N, e.N)
			default:
				line.Present += n
			}
		}
	}
	return line, nil
}
