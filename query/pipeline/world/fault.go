package world

import (
	"fmt"
	"math"
	"slices"
)

// Fault is something that goes wrong for a while.
type Fault struct {
	Kind        string
	At, Until   int64 // Unix milliseconds; Until 0 = at once
	Text        string
	begin, end  func() string
	begun, over bool
}

func (f *Fault) step(w *World) {
	if !f.begun && w.Now >= f.At {
		f.begun = true
		if s := f.begin(); s != "" {
			w.tell("%s: %s", f.Kind, s)
		}
	}
	if f.begun && !f.over && f.Until > 0 && w.Now >= f.Until {
		f.over = true
		if f.end != nil {
			if s := f.end(); s != "" {
				w.tell("%s ends: %s", f.Kind, s)
			}
		}
	}
}

// oneByOne is the kind of fault of instances that do not count at first.
const oneByOne = "instrumented one by one"

// Kinds of faults, in the order of the table.
func Kinds() []string {
	return []string{
		"silent drop", "duplicates", "lost and duplicated", "lost in transport", "given up", "dead letters", "stall", "slow", "rewind", "skip", "retention",
		"truncation", "late records", "restart in order", "application crash", "application killed", "collector restart", "collector crash", "datagram loss",
		"silent collector", "broker away", "uninstrumented producer", oneByOne, "topic made anew",
		"absurd offsets", "absurd counts", "clock jump", "group vanishes", "none",
	}
}

// add plans a fault of a kind at some time within [from, to] that lasts between low and high milliseconds, if
// this world has a place for it.
func (w *World) add(kind string, from, to int64) {
	at := w.between(from, to)
	f := Fault{Kind: kind, At: at}
	for_ := func(low, high int64) { f.Until = at + w.between(low, high) }
	share := math.Pow(10, -2.3+1.3*w.Rng.Float64()) // half a percent to ten
	var stages, readers []*Stage                    // that read and write; that read
	for _, s := range w.Stages {
		if len(s.In) == 0 {
			continue
		}
		readers = append(readers, s)
		if len(s.Out) > 0 {
			stages = append(stages, s)
		}
	}
	var writers []*Stage
	for _, s := range w.Stages {
		if len(s.Out) > 0 && !s.Uncounted {
			writers = append(writers, s)
		}
	}
	pick := func(list []*Stage) *Stage { return list[w.Rng.IntN(len(list))] }
	node := w.Nodes[w.Rng.IntN(len(w.Nodes))]
	reader := pick(readers)
	input := reader.In[w.Rng.IntN(len(reader.In))]
	instance := w.Rng.IntN(len(reader.Instances))
	switch kind {
	case "silent drop":
		all := append(slices.Clone(stages), tables(readers)...)
		if len(all) == 0 {
			return
		}
		s := pick(all)
		for_(5_000, 60_000)
		f.begin = func() string {
			if s.Fan && len(s.Out) > 1 && w.chance(0.5) {
				s.DropTo = s.Out[0]
			}
			s.Drop = share
			return fmt.Sprintf("%s drops %.2g of its records without a word", s.Name, share)
		}
		f.end = func() string { s.Drop = 0; return s.Name }
	case "duplicates":
		s := pick(writers)
		counted := w.chance(0.3) && len(s.In) > 0
		for_(5_000, 60_000)
		f.begin = func() string {
			if counted {
				s.Doubled = share
				return fmt.Sprintf("%s puts out %.2g of its records twice and counts both", s.Name, share)
			}
			s.Twice = share
			return fmt.Sprintf("%s puts out %.2g of its records twice", s.Name, share)
		}
		f.end = func() string { s.Twice, s.Doubled = 0, 0; return s.Name }
	case "lost and duplicated":
		s := pick(writers)
		inside := len(s.In) > 0 && w.chance(0.5)
		for_(5_000, 60_000)
		f.begin = func() string {
			if inside {
				s.Drop, s.Doubled = share, share
				return fmt.Sprintf("%s drops %.2g of its records and puts out as many twice", s.Name, share)
			}
			s.Vanish, s.Twice = share, share
			return fmt.Sprintf("of what %s puts out %.2g vanishes and as much comes twice", s.Name, share)
		}
		f.end = func() string { s.Drop, s.Doubled, s.Vanish, s.Twice = 0, 0, 0, 0; return s.Name }
	case "lost in transport":
		s := pick(writers)
		for_(5_000, 60_000)
		f.begin = func() string {
			s.Vanish = share
			return fmt.Sprintf("of what %s puts out %.2g vanishes", s.Name, share)
		}
		f.end = func() string { s.Vanish = 0; return s.Name }
	case "given up", "dead letters":
		if len(stages) == 0 {
			return
		}
		s := pick(stages)
		for_(5_000, 60_000)
		f.begin = func() string {
			if kind == "given up" {
				s.Fail = share
			} else {
				s.Dead = share
			}
			return fmt.Sprintf("%s, %.2g of its records", s.Name, share)
		}
		f.end = func() string { s.Fail, s.Dead = 0, 0; return s.Name }
	case "stall":
		for_(5_000, 60_000)
		f.begin = func() string { reader.Stalled = true; return reader.Name + " takes nothing" }
		f.end = func() string { reader.Stalled = false; return reader.Name }
	case "slow":
		for_(20_000, 60_000)
		was := reader.Capacity
		f.begin = func() string { reader.Capacity = 2; return reader.Name + " takes two records a second" }
		f.end = func() string { reader.Capacity = was; return reader.Name }
	case "rewind", "skip":
		if !input.Queue.Offsets {
			return
		}
		for_(2_000, 6_000) // the group is stopped meanwhile
		n := w.between(1, 400)
		f.begin = func() string {
			w.halt(reader)
			var moved int64
			for _, p := range input.Queue.Parts {
				if kind == "rewind" {
					moved += input.Queue.rewind(p, input.Group, n)
				} else {
					moved += input.Queue.skip(p, input.Group)
				}
			}
			return fmt.Sprintf("%s on %s by %d records", input.Group, input.Queue.Name, moved)
		}
		f.end = func() string { w.resume(reader); return "" }
	case "retention":
		if !input.Queue.Offsets {
			return
		}
		for_(15_000, 60_000)
		keep := w.between(0, 100)
		f.begin = func() string { reader.Stalled = true; return reader.Name + " takes nothing" }
		f.end = func() string {
			var gone int64
			for _, p := range input.Queue.Parts {
				next := p.curs[input.Group].next
				input.Queue.expire(p, keep)
				gone += max(0, p.Start-next)
			}
			reader.Stalled = false
			return fmt.Sprintf("%s keeps %d records a partition, %d unread ones are gone", input.Queue.Name, keep, gone)
		}
	case "truncation":
		if !input.Queue.Offsets {
			return
		}
		n := w.between(1, 60)
		f.begin = func() string {
			var gone int64
			for _, p := range input.Queue.Parts {
				gone += input.Queue.truncate(w, p, n)
			}
			for _, s := range w.Stages { // what is in hand is worked on, and committed no further than the end
				for _, in := range s.Instances {
					in.held = slices.DeleteFunc(in.held, func(h held) bool { return h.off >= h.p.End() })
				}
			}
			return fmt.Sprintf("the newest %d records of %s are gone", gone, input.Queue.Name)
		}
	case "late records":
		s := w.Stages[0]
		every, by := uint64(w.between(5, 60)), w.between(3_000, 60_000)
		for_(10_000, 80_000)
		f.begin = func() string {
			s.Late = func(id uint64) int64 {
				if id%every == 0 {
					return by
				}
				return 0
			}
			return fmt.Sprintf("every %d. record of %s is %.1f s old", every, s.Name, float64(by)/1000)
		}
		f.end = func() string { s.Late = nil; return s.Name }
	case "restart in order", "application crash":
		for_(500, 15_000)
		f.begin = func() string {
			if kind == "application crash" {
				reader.Crash(w, instance, true)
			} else {
				reader.Stop(w, instance)
			}
			return reader.Instances[instance].Name + " is down"
		}
		f.end = func() string { reader.Start(w, instance); return reader.Instances[instance].Name + " is back" }
	case "application killed":
		w.kills(at)
		return
	case "collector restart", "collector crash":
		for_(500, 30_000)
		f.begin = func() string {
			if node.Down {
				return ""
			}
			if kind == "collector crash" {
				node.Crash()
			} else {
				node.Stop(w)
			}
			return "that of " + node.Name + " is down"
		}
		f.end = func() string {
			if !node.Down {
				return ""
			}
			node.Start(w)
			return "that of " + node.Name + " is back"
		}
	case "datagram loss":
		if !node.Lossy {
			return
		}
		for_(2_000, 30_000)
		f.begin = func() string { node.Loses = 0.05; return "on " + node.Name }
		f.end = func() string { node.Loses = 0; return node.Name }
	case "silent collector":
		for_(10_000, 90_000)
		f.begin = func() string { node.Mute = true; return node.Name + " is not heard" }
		f.end = func() string { node.speak(w); return node.Name + " is heard again" }
	case "broker away":
		for_(5_000, 60_000)
		f.begin = func() string { input.Queue.Away = true; return input.Queue.Name + " is not polled" }
		f.end = func() string { input.Queue.Away = false; return input.Queue.Name }
	case "uninstrumented producer":
		s := w.AddStage("stranger", w.Nodes[0]).Writes(input.Queue)
		s.Uncounted, s.Rate = true, w.Stages[0].Rate*(0.1+w.Rng.Float64())
		s.Stalled = true
		for_(10_000, 120_000)
		f.begin = func() string {
			s.Stalled = false
			return fmt.Sprintf("%.1f records a second into %s", s.Rate, input.Queue.Name)
		}
		f.end = func() string { s.Stalled, s.owed = true, 0; return "" }
	case oneByOne:
		several := slices.DeleteFunc(slices.Clone(readers), func(s *Stage) bool { return len(s.Instances) < 2 })
		if len(several) == 0 {
			return
		}
		reader := pick(several)
		instance := w.Rng.IntN(len(reader.Instances))
		f.At, f.Until = Begin, at // from the begin on one instance runs a version that does not count; then it is replaced
		f.begin = func() string {
			reader.Instances[instance].Dumb = true
			return reader.Instances[instance].Name + " does not count yet"
		}
		f.end = func() string {
			reader.Stop(w, instance)
			reader.Instances[instance].Dumb = false
			reader.Start(w, instance)
			return reader.Instances[instance].Name
		}
	case "topic made anew":
		if !input.Queue.Offsets || len(input.Queue.Groups) > 1 {
			return
		}
		for_(1_000, 10_000)
		f.begin = func() string {
			w.halt(reader)
			var gone int64
			for _, p := range input.Queue.Parts {
				gone += p.End() - max(p.curs[input.Group].next, p.Start)
			}
			input.Queue.recreate(w)
			return fmt.Sprintf("%s is deleted with %d unread records and made anew", input.Queue.Name, gone)
		}
		f.end = func() string { w.resume(reader); return "" }
	case "absurd offsets":
		if !input.Queue.Offsets {
			return
		}
		for_(5_000, 30_000)
		f.begin = func() string { input.Queue.Absurd = 0.3; return "some polls of " + input.Queue.Name + " are nonsense" }
		f.end = func() string { input.Queue.Absurd = 0; return input.Queue.Name }
	case "absurd counts":
		for_(2_000, 20_000)
		f.begin = func() string { node.Absurd = true; return node.Name + " sends cells of no time, no width, no stage" }
		f.end = func() string { node.Absurd = false; return node.Name }
	case "clock jump":
		by := []int64{-10_000, -3_000, 3_000, 10_000}[w.Rng.IntN(4)]
		for_(5_000, 60_000)
		f.begin = func() string {
			node.Skew += by
			node.jumped = true
			return fmt.Sprintf("%s by %d s", node.Name, by/1000)
		}
		f.end = func() string { node.Skew -= by; return node.Name }
	case "group vanishes":
		if !input.Queue.Offsets {
			return
		}
		for_(10_000, 60_000)
		f.begin = func() string { input.Queue.NoGroups = true; return "nobody tells of the groups of " + input.Queue.Name }
		f.end = func() string { input.Queue.NoGroups = false; return input.Queue.Name }
	case "none":
		return
	default:
		panic("no fault " + kind)
	}
	w.Faults = append(w.Faults, f)
}

// kills ends one application again and again as kill -9 does: its last counts are gone with it.
func (w *World) kills(at int64) {
	var counted []*Stage
	for _, s := range w.Stages {
		if !s.Uncounted {
			counted = append(counted, s)
		}
	}
	s := counted[w.Rng.IntN(len(counted))]
	i := w.Rng.IntN(len(s.Instances))
	in := s.Instances[i]
	for range 1 + w.Rng.IntN(3) {
		f := Fault{Kind: "application killed", At: at, Until: at + w.between(250, 10_000)}
		done := false
		f.begin = func() string {
			if in.Down {
				return ""
			}
			done = true
			n := in.untold()
			s.Crash(w, i, false)
			return fmt.Sprintf("%s, with the counts of %d records", in.Name, n)
		}
		f.end = func() string {
			if !done {
				return ""
			}
			s.Start(w, i)
			return in.Name + " is back"
		}
		w.Faults = append(w.Faults, f)
		at = f.Until + w.between(0, 15_000)
	}
}

// tables are the readers that write a table.
func tables(readers []*Stage) []*Stage {
	var out []*Stage
	for _, s := range readers {
		if s.Table != "" {
			out = append(out, s)
		}
	}
	return out
}

// halt stops a group in order, so that its offsets can be set.
func (w *World) halt(s *Stage) {
	for i, in := range s.Instances {
		if !in.Down {
			s.Stop(w, i)
			in.halted = true
		}
	}
}

// Rewind sets the groups of a stage back by n records a partition; it is stopped for two seconds meanwhile.
func (w *World) Rewind(s *Stage, n int64) {
	w.halt(s)
	for _, in := range s.In {
		for _, p := range in.Queue.Parts {
			in.Queue.rewind(p, in.Group, n)
		}
	}
	w.Run(2)
	w.resume(s)
}

func (w *World) resume(s *Stage) {
	for i, in := range s.Instances {
		if in.halted {
			in.halted = false
			s.Start(w, i)
		}
	}
}
