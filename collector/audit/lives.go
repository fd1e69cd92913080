package audit

import (
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
)

// Life is what a sender says about its own run, with each flush; an alias of a struct without a name, as Increment.
type Life = struct {
	Pipeline, Stage         string
	Instance, Service, Node string
	ID                      string        // tells runs apart
	Most                    uint64        // records, in or out, that it will not exceed of what is counted and not told without saying so first
	Every                   time.Duration // between its flushes
	Raise                   bool          // only Most is new: what it holds is still not told
	End                     bool          // the last word: everything is told
}

// Of senders that end without a last word: how many are followed, how long one may be silent at least, for how long after a
// commit the server waits for counts in any case, how far back windows lie on which a sender may still work, and how many
// windows further it may have come since it last told.
const (
	maxLives   = 20_000
	minSilence = 1500 * time.Millisecond
	waited     = 2 * time.Second
	reach      = time.Minute
	ahead      = 64
	maxID      = 32 // bytes
	maxEvery   = 10 * time.Minute
)

type lifeKey struct{ pipeline, stage, instance, id string }

// life is a run that has not said its last word.
type life struct {
	Life
	heard time.Time // when it had last told everything
	// learned says that a receiver found the life out from what it exports: the sender never says that it stops.
	learned bool
	dead    bool
	ends    []id // its cells, while it is taken for dead
}

// lives are the runs of senders that say when they stop.
type lives struct {
	mu      sync.Mutex
	m       map[lifeKey]*life
	began   time.Time     // of this run of the collector
	delay   time.Duration // for so long counts may be on their way, beyond what the server waits for in any case
	refused *metrics.Counter
	killed  *metrics.Counter
	silent  *metrics.Counter
}

func silence(every time.Duration) time.Duration { return max(minSilence, 2*every) }

// Told takes what a sender says about its run. One that is silent afterwards without a last word may have counted up to
// Most records more than it told: the windows concerned get a cell that says so, until it speaks again.
func (c *Counter) Told(t Life) error { return c.tell(t, false) }

// Seen takes what a receiver learned of a sender that says nothing of its own run: that it exported now, how far its exports
// were apart and how much one held. Silence is noticed and taken back as for those that tell, but such a sender may as well
// have stopped in order, and nobody waits for it: the collector vouches for its counts as if nothing could be missing.
func (c *Counter) Seen(t Life) error { return c.tell(t, true) }

func (c *Counter) tell(t Life, learned bool) error {
	if t.Pipeline == "" || t.Stage == "" || t.ID == "" || len(t.ID) > maxID || t.Every <= 0 ||
		max(len(t.Pipeline), len(t.Stage), len(t.Instance)+1+maxID, len(t.Service)) > maxKey {
		c.refusedKey.Inc()
		return fmt.Errorf("cannot follow run %q of pipeline %q stage %q: all three must be given, and the time between flushes: %w", t.ID, t.Pipeline, t.Stage, ErrKey)
	}
	t.Every = min(t.Every, maxEvery)
	ls := &c.lives
	ls.mu.Lock()
	defer ls.mu.Unlock()
	k := lifeKey{t.Pipeline, t.Stage, t.Instance, t.ID}
	l := ls.m[k]
	if l == nil {
		if t.End {
			return nil
		}
		if len(ls.m) >= maxLives {
			ls.refused.Inc()
			return fmt.Errorf("cannot follow run %q of pipeline %q stage %q: %d are followed already: %w", t.ID, t.Pipeline, t.Stage, maxLives, ErrFull)
		}
		l = &life{heard: time.Now(), learned: learned}
		ls.m[k] = l
	}
	if learned && l.heard.Before(ls.began) { // what was learned in the run before is more than what is known yet
		t.Most = max(t.Most, l.Most)
	}
	l.Life = t
	if t.Raise {
		return nil
	}
	l.heard = time.Now()
	c.revive(l)
	if t.End {
		delete(ls.m, k)
	}
	return nil
}

// revive takes back what was said of a run that is alive after all.
func (c *Counter) revive(l *life) {
	l.dead = false
	for _, i := range l.ends {
		s := c.shardOf(i)
		s.mu.Lock()
		if e := s.m[i]; e != nil && e.counts.N > 0 {
			e.counts.N, e.touched = 0, l.heard
			e.version++
		}
		s.mu.Unlock()
	}
	l.ends = nil
}

// bury finds runs that are silent without a last word, and says which windows they may have counted in.
func (c *Counter) bury(now time.Time) {
	ls := &c.lives
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var dying []*life
	ls.delay = 0
	for k, l := range ls.m {
		switch silent := now.Sub(l.heard); {
		case l.dead && silent > c.cfg.Idle:
			delete(ls.m, k)
		case l.dead:
		case l.learned:
			// What exports each minute is not suspected because the collector was away for two.
			if min(silent, now.Sub(ls.began)) >= silence(l.Every) {
				dying = append(dying, l)
			}
		case silent < silence(l.Every):
			ls.delay = max(ls.delay, silence(l.Every)-waited)
		default:
			dying = append(dying, l)
		}
	}
	if len(dying) == 0 {
		return
	}
	windows := c.worked(dying)
	for _, l := range dying {
		l.dead = true
		if l.learned {
			ls.silent.Inc()
		} else {
			ls.killed.Inc()
		}
		most := max(l.Most, 1)
		if l.heard.Before(ls.began) { // it may have counted on while no collector was there to be told
			most *= uint64(1 + now.Sub(l.heard)/l.Every)
		}
		for _, k := range c.concerned(windows[[2]string{l.Pipeline, l.Stage}], l, now) {
			c.end(l, k, most, now)
		}
	}
}

// end makes the cell of one window.
func (c *Counter) end(l *life, k cell.Key, most uint64, now time.Time) {
	i := id{Key: k, Instance: l.Instance + "~" + l.ID}
	s := c.shardOf(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := c.entry(s, i, now)
	if err != nil {
		return // told as a drop
	}
	e.service, e.node, e.touched = l.Service, l.Node, now
	e.counts = cell.Counts{N: most, MaxTS: l.heard.UnixMilli()}
	e.version++
	l.ends = append(l.ends, i)
}

type worked struct {
	key     cell.Key // of its window
	changed time.Time
}

// worked are the windows that the stages of some runs counted in.
func (c *Counter) worked(of []*life) map[[2]string]map[int64]worked {
	out := map[[2]string]map[int64]worked{}
	for _, l := range of {
		out[[2]string{l.Pipeline, l.Stage}] = map[int64]worked{}
	}
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		for i, e := range s.m {
			ws, ok := out[[2]string{i.Pipeline, i.Stage}]
			if !ok || i.Window == 0 || i.Dir == cell.Unflushed {
				continue
			}
			if w, known := ws[i.Window]; !known || e.changed.After(w.changed) {
				ws[i.Window] = worked{i.Key, e.changed}
			}
		}
		s.mu.Unlock()
	}
	return out
}

// concerned are the windows of which a run may have counted records when it ended: those that its stage counted in shortly
// before, and younger ones.
func (c *Counter) concerned(ws map[int64]worked, l *life, now time.Time) (out []cell.Key) {
	k := cell.Key{Pipeline: l.Pipeline, Stage: l.Stage, Dir: cell.Unflushed, Reason: cell.Killed, Width: int64(c.cfg.Width / time.Second)}
	if l.learned {
		k.Reason = cell.Silent
	}
	next := int64(0)
	for start, w := range ws {
		if end := start + w.key.Width; end > next {
			next, k.Width = end, w.key.Width // a wider cell would make all windows of the pipeline as wide
		}
		if w.changed.Before(l.heard.Add(-reach)) {
			continue
		}
		k := k
		k.Window, k.Width = start, w.key.Width
		out = append(out, k)
	}
	at := now.Unix() - now.Unix()%k.Width
	if next == 0 {
		next = at - 2*k.Width
	}
	next -= next % k.Width
	for range ahead {
		if next > at+k.Width {
			break
		}
		k.Window = next
		out = append(out, k)
		next += k.Width
	}
	return out
}

// waits is for how long counts may be on their way, beyond what the server waits for in any case.
func (ls *lives) waits() time.Duration {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.delay
}

// openLife is a run that goes on while the collector is stopped.
type openLife struct {
	Life  Life  `json:"life"`
	Heard int64 `json:"heard"` // Unix milliseconds
	// Learned is true when the sender itself says nothing.
	Learned bool `json:"learned,omitempty"`
}

// open lists the runs that have not said their last word.
func (ls *lives) open() []openLife {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var out []openLife
	for _, l := range ls.m {
		if !l.dead {
			out = append(out, openLife{l.Life, l.heard.UnixMilli(), l.learned})
		}
	}
	return out
}

// begin takes over the runs that the collector followed when it was stopped.
func (ls *lives) begin(now time.Time, before []openLife) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.began = now
	for _, o := range before {
		k := lifeKey{o.Life.Pipeline, o.Life.Stage, o.Life.Instance, o.Life.ID}
		if ls.m[k] == nil && len(ls.m) < maxLives && o.Life.Every > 0 { // else it has spoken already
			ls.m[k] = &life{Life: o.Life, heard: time.UnixMilli(o.Heard), learned: o.Learned}
		}
	}
}
