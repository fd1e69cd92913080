package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
)

// checker plays scenes and compares weir's answers with the injectors' ledgers.
type checker struct {
	*house
	results []result
	began   time.Time
}

type result struct {
	scene, what, want, got string
	ok                     bool
	took                   time.Duration
}

// Run plays all scenes headless; an answer that differs from what was injected is an error.
func (c *checkCmd) Run(ctx context.Context, logger *slog.Logger) error {
	hold := 70 * time.Second
	if c.Short {
		c.Window, c.Grace = 10*time.Second, 5*time.Second
		hold = 15 * time.Second
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return err
	}
	c.Listen, c.Control = addrs[0], addrs[1]
	h, err := newHouse(c.options, logger)
	if err != nil {
		return err
	}
	k := &checker{house: h, began: time.Now()}
	defer h.stop()
	if err := h.start(ctx); err != nil {
		return err
	}
	if err := k.all(ctx, hold); err != nil {
		k.print(os.Stdout)
		return err
	}
	k.print(os.Stdout)
	for _, r := range k.results {
		if !r.ok {
			return errors.New("weir's answers differ from what was injected")
		}
	}
	return nil
}

func (k *checker) all(ctx context.Context, hold time.Duration) error {
	for _, f := range []func(context.Context, time.Duration) error{k.healthy, k.slow, k.stall, k.drop, k.double, k.kill, k.self} {
		if err := f(ctx, hold); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) print(w io.Writer) {
	passed, failed := 0, 0
	var b strings.Builder
	fmt.Fprintf(&b, "\n| scene | checked | injected or expected | weir says | after | |\n|---|---|---|---|---|---|\n")
	for _, r := range k.results {
		mark := "ok"
		if r.ok {
			passed++
		} else {
			failed++
			mark = "WRONG"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f s | %s |\n", r.scene, r.what, r.want, r.got, r.took.Seconds(), mark)
	}
	fmt.Fprintf(&b, "\nscenes: %d passed, %d failed (%.0f s)\n", passed, failed, time.Since(k.began).Seconds())
	if _, err := io.WriteString(w, b.String()); err != nil {
		k.logger.Error("cannot print the results", "error", err)
	}
}

// eventually asks until the answer is as wanted or patience ends; the last answer is noted either way.
func (k *checker) eventually(ctx context.Context, scene, what, want string, patience time.Duration, ask func(context.Context) (got string, ok bool)) error {
	began := time.Now()
	for {
		got, ok := ask(ctx)
		if ok || time.Since(began) > patience {
			k.results = append(k.results, result{scene, what, want, got, ok, time.Since(began)})
			k.logger.Info("checked", "scene", scene, "what", what, "want", want, "got", got, "ok", ok)
			return ctx.Err()
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (k *checker) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.opt.Listen+path, nil)
	if err != nil {
		return err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", path, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

func (k *checker) pipeline(ctx context.Context) (answer.Pipeline, error) {
	var p answer.Pipeline
	err := k.get(ctx, "/api/v1/pipelines/orders", &p)
	return p, err
}

// state waits for one of the states, with the stuck node named when one is wanted.
func (k *checker) state(ctx context.Context, scene, stuck string, patience time.Duration, states ...answer.State) error {
	want := fmt.Sprint(states)
	if stuck != "" {
		want += " at " + stuck
	}
	return k.eventually(ctx, scene, "state", want, patience, func(ctx context.Context) (string, bool) {
		p, err := k.pipeline(ctx)
		if err != nil {
			return err.Error(), false
		}
		at := ""
		for _, n := range p.Nodes {
			if n.Stuck {
				at = n.Name
			}
		}
		got := string(p.State)
		if at != "" {
			got += " at " + at
		}
		if p.Sentence != "" {
			got += ": " + p.Sentence
		}
		for _, s := range states {
			if p.State == s && at == stuck {
				return got, true
			}
		}
		return got, false
	})
}

func (k *checker) healthy(ctx context.Context, hold time.Duration) error {
	if err := k.state(ctx, "healthy", "", 30*time.Second, answer.OK); err != nil {
		return err
	}
	from := time.Now()
	if err := pause(ctx, hold); err != nil {
		return err
	}
	to := time.Now()
	return k.losses(ctx, "healthy", from, to, nil, "")
}

func (k *checker) slow(ctx context.Context, _ time.Duration) error {
	if err := k.play(ctx, "slow"); err != nil {
		return err
	}
	if err := k.state(ctx, "slow", "enrich", 30*time.Second, answer.Late); err != nil {
		return err
	}
	return k.recover(ctx, "slow")
}

func (k *checker) stall(ctx context.Context, _ time.Duration) error {
	if err := k.play(ctx, "stall"); err != nil {
		return err
	}
	if err := k.state(ctx, "stall", "sink", 30*time.Second, answer.Late); err != nil {
		return err
	}
	return k.recover(ctx, "stall")
}

func (k *checker) recover(ctx context.Context, scene string) error {
	if err := k.play(ctx, "healthy"); err != nil {
		return err
	}
	return k.state(ctx, scene+", mended", "", 90*time.Second, answer.OK)
}

func (k *checker) drop(ctx context.Context, hold time.Duration) error {
	return k.inject(ctx, "drop", hold, "dropped by enrich", "balance")
}

func (k *checker) double(ctx context.Context, hold time.Duration) error {
	return k.inject(ctx, "double", hold, "doubled by enrich", "transport")
}

// inject plays a fault for a while and compares the ledger with the windows weir settled.
func (k *checker) inject(ctx context.Context, scene string, hold time.Duration, ledger, kind string) error {
	from := time.Now()
	if err := k.play(ctx, scene); err != nil {
		return err
	}
	if err := pause(ctx, hold); err != nil {
		return err
	}
	if err := k.play(ctx, "healthy"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil { // what was fetched before the switch is done
		return err
	}
	inj, err := k.injected()
	if err != nil {
		return err
	}
	return k.losses(ctx, scene, from, time.Now(), inj[ledger], kind)
}

// losses compares all windows that hold records of [from, to]: what the ledger says must be found in the
// one balance of that kind, and nothing in any other.
func (k *checker) losses(ctx context.Context, scene string, from, to time.Time, injected map[int64]int64, kind string) error {
	w := int64(k.opt.Window / time.Second)
	first, last := from.Unix()/w*w, to.Unix()/w*w
	var total int64
	for win, n := range injected {
		if win >= first && win <= last {
			total += n
		}
	}
	want := fmt.Sprintf("%d in %s, 0 elsewhere, windows %s to %s settled", total, orWord(kind, "none"), clock(first), clock(last))
	patience := k.opt.Window + k.opt.Grace + 45*time.Second
	return k.eventually(ctx, scene, "settled loss by window", want, patience, func(ctx context.Context) (string, bool) {
		return k.compare(ctx, first, last, w, injected, kind)
	})
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

// rangeOf is the query of [from, to), Unix seconds.
func rangeOf(from, to int64) url.Values {
	return url.Values{"from": {strconv.FormatInt(from*1000, 10)}, "to": {strconv.FormatInt(to*1000, 10)}}
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("15:04:05") }

func (k *checker) compare(ctx context.Context, first, last, w int64, injected map[int64]int64, kind string) (string, bool) {
	q := rangeOf(first, last+w)
	var l answer.Loss
	if err := k.get(ctx, "/api/v1/loss?"+q.Encode(), &l); err != nil {
		return err.Error(), false
	}
	if len(l.Rows) < 4 {
		return fmt.Sprintf("%d balances, want at least 4", len(l.Rows)), false
	}
	var wrong []string
	found := map[int64]int64{}
	unsettled := 0
	for _, row := range l.Rows {
		var d answer.LossDetail
		if err := k.get(ctx, "/api/v1/loss/"+url.PathEscape(row.ID)+"?"+q.Encode(), &d); err != nil {
			return err.Error(), false
		}
		settled := map[int64]answer.LossWindow{}
		for _, win := range d.Windows {
			if win.Settled {
				settled[win.Window] = win
			}
		}
		for win := first; win <= last; win += w {
			v, ok := settled[win]
			if !ok {
				unsettled++
				continue
			}
			n := v.Lost + v.Surplus
			right := n == 0
			if kind != "" && row.Kind == kind && strings.Contains(row.Where, "enrich") && n > 0 {
				found[win] += n
				right = true
				if kind == "balance" && v.Lost != n || kind == "transport" && v.Surplus != n {
					right = false
				}
			}
			if !right {
				wrong = append(wrong, fmt.Sprintf("%s %s: lost %d, surplus %d (%s)", row.Where, clock(win), v.Lost, v.Surplus, v.Verdict))
			}
		}
	}
	var total int64
	for win := first; win <= last; win += w {
		total += found[win]
		if found[win] != injected[win] {
			wrong = append(wrong, fmt.Sprintf("%s: %d, injected %d", clock(win), found[win], injected[win]))
		}
	}
	got := fmt.Sprintf("%d in %s", total, orWord(kind, "none"))
	if unsettled > 0 {
		got += fmt.Sprintf(", %d windows not settled", unsettled)
	}
	if len(wrong) > 0 {
		got += "; " + strings.Join(wrong[:min(3, len(wrong))], "; ")
	}
	return got, unsettled == 0 && len(wrong) == 0
}

// kill ends the collector as a crash would: the minute may be unknown, but nothing may be called lost.
func (k *checker) kill(ctx context.Context, hold time.Duration) error {
	from := time.Now()
	if err := k.play(ctx, "kill"); err != nil {
		return err
	}
	if err := pause(ctx, hold); err != nil {
		return err
	}
	to := time.Now()
	if err := k.recover(ctx, "kill"); err != nil {
		return err
	}
	w := int64(k.opt.Window / time.Second)
	first, last := from.Unix()/w*w, to.Unix()/w*w
	return k.eventually(ctx, "kill", "no false loss", "every window settled, OK or UNKNOWN, 0 lost", k.opt.Window+k.opt.Grace+45*time.Second, func(ctx context.Context) (string, bool) {
		q := rangeOf(first, last+w)
		var l answer.Loss
		if err := k.get(ctx, "/api/v1/loss?"+q.Encode(), &l); err != nil {
			return err.Error(), false
		}
		states := map[string]int{}
		var lost int64
		for _, row := range l.Rows {
			lost += row.Lost
			for _, c := range row.Ribbon {
				if c.Window >= first && c.Window <= last {
					states[c.State]++
				}
			}
		}
		open := states["IN_FLIGHT"] + states["LATE"] + states[""]
		bad := states["LOSS"] + states["PROBABLE_LOSS"] + states["MIXED"] + states["DUPLICATES"]
		return fmt.Sprintf("lost %d, windows by verdict %v", lost, states), lost == 0 && open == 0 && bad == 0 && len(l.Rows) > 0
	})
}

// self asks weir for its own ledger: received = stored + spooled + dropped, per door.
func (k *checker) self(ctx context.Context, _ time.Duration) error {
	return k.eventually(ctx, "self", "received = stored + spooled + dropped", "balanced at every door", 30*time.Second, func(ctx context.Context) (string, bool) {
		var s answer.Self
		if err := k.get(ctx, "/api/v1/self", &s); err != nil {
			return err.Error(), false
		}
		var off []string
		for _, d := range s.Doors {
			if !d.Balanced {
				off = append(off, fmt.Sprintf("%s/%s/%s by %g", d.Node, d.Part, d.Door, d.Diff))
			}
		}
		return fmt.Sprintf("%d doors, off: %v", len(s.Doors), off), s.Balanced && len(off) == 0 && len(s.Doors) > 5
	})
}
