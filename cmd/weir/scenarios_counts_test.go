package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/query/answer"
)

// Scenario 4: of each hundred one is lost on the way and another one comes twice.
func (a *apps) equalNumbers() {
	t := a.t
	a.begin("s04", "s04")
	from := a.later(2)
	until := from + 3*a.width
	a.source("s04", 120, 0)
	a.sink("s04", func(r client.Record, w *truth) int {
		w.seq++
		switch {
		case r.Time.Unix() < from || r.Time.Unix() >= until:
		case w.seq%100 == 40:
			w.lost++
			return 0
		case w.seq%100 == 41:
			w.doubled++
			return 2
		}
		return 1
	})
	a.settles(from, 5, 1, 30*time.Second, func(row *answer.LossRow, w answer.LossWindow) {
		did, want := a.tally.of(w.Window), "OK"
		if w.Window < until {
			want = "MIXED"
		}
		if w.Verdict != want || w.Up != int64(did.made) || w.Down != int64(did.made) || did.lost != did.doubled || (did.lost == 0) != (want == "OK") {
			t.Errorf("%s, window %d, %+v: %+v", row.Where, w.Window, did, w)
		}
	})
	if p := a.page("s04"); p.State != answer.Losing || !strings.HasPrefix(p.Sentence, "Records, as many as came twice, lost on the way source → s04 → sink") {
		t.Errorf("%s: %s", p.State, p.Sentence)
	}
}

// Scenario 10: the reader's clock is five seconds behind the origin's. Verdicts do not care; percentiles say by how much clocks differ.
func (a *apps) clockBehind() {
	t := a.t
	a.begin("s10", "s10")
	a.source("s10", 60, 5*time.Second)
	a.sink("s10", nil)
	from := a.later(2)
	a.settles(from, 4, 1, 40*time.Second, func(_ *answer.LossRow, w answer.LossWindow) {
		if made := int64(a.tally.of(w.Window).made); w.Verdict != "OK" || w.Up != made || w.Down != made {
			t.Errorf("window %d of %d records: %+v", w.Window, made, w)
		}
	})
	p := a.page("s10")
	if p.State != answer.OK || len(p.Latency) == 0 {
		t.Fatalf("%s: %s %+v", p.State, p.Sentence, p.Latency)
	}
	for _, l := range p.Latency { // a record takes some milliseconds: the least latency that is seen is a little more than -5 s
		if l.Stage != "sink" || l.Skew < 4.5 || l.Skew > 5.001 || l.Clamped < l.Count*9/10 {
			t.Errorf("%+v", l)
		}
	}
	a.calm()
}

// Scenario 14: a stage packs twenty records into a message. One message is never written in some windows: twenty are lost in
// the stage. In others one that was written does not arrive: a message is lost on the way.
func (a *apps) batches() {
	t := a.t
	const most = 20
	a.begin("s14", "s14", "s14-packed")
	inside := a.later(3)
	between := inside + 2*a.width
	until := between + 2*a.width
	a.source("s14", 240, 0)
	pack, cl := a.auditor("pack"), a.client()
	var held []client.Record
	window := func(r client.Record) int64 { return r.Time.Unix() / a.width * a.width }
	flush := func() error {
		batch := client.Record{ID: "b-" + held[0].ID, Time: held[0].Time}
		lose := false
		a.tally.in(batch.Time, func(w *truth) {
			w.batches++
			lose = window(batch) >= inside && window(batch) < between && w.batches == 3
		})
		if !lose {
			if err := cl.ProduceSync(a.ctx, &kgo.Record{Topic: "s14-packed", Key: []byte(batch.ID), Timestamp: batch.Time}).FirstErr(); err != nil {
				return err
			}
			pack.OutBatch("s14-packed", batch, held...)
		}
		held = nil
		return nil
	}
	a.reads("s14", "pack", func(k *kgo.Record) error {
		r := client.Record{ID: string(k.Key), Time: k.Timestamp}
		pack.In("s14", "pack", r)
		if len(held) > 0 && (len(held) == most || window(held[0]) != window(r)) {
			if err := flush(); err != nil {
				return err
			}
		}
		held = append(held, r)
		return nil
	})
	a.sink("s14-packed", func(r client.Record, w *truth) int {
		w.seq++
		if at := window(r); at >= between && at < until && w.seq == 4 {
			return 0 // the one that does not arrive
		}
		return 1
	})
	a.settles(inside, 6, 3, 40*time.Second, func(row *answer.LossRow, w answer.LossWindow) {
		did := a.tally.of(w.Window)
		want, lost := "OK", int64(0)
		switch {
		case row.Where == "pack" && w.Window < between:
			want, lost = "LOSS", most
		case row.Where == "pack → s14-packed → sink" && w.Window >= between && w.Window < until:
			want, lost = "LOSS", 1
		}
		if w.Verdict != want || w.Lost != lost || w.Surplus != 0 || row.Where == "pack" && w.Up != int64(did.made) {
			t.Errorf("%s, window %d, %+v: %+v", row.Where, w.Window, did, w)
		}
	})
}

// Scenario 15: somebody whom nobody counts writes into the topic as well.
func (a *apps) stranger() {
	t := a.t
	a.begin("s15", "s15")
	a.source("s15", 120, 0)
	other := a.client()
	a.at("stranger", 60, func(ctx context.Context, i int) error {
		at := time.UnixMilli(time.Now().UnixMilli())
		err := other.ProduceSync(ctx, &kgo.Record{Topic: "s15", Key: fmt.Appendf(nil, "x-%d", i), Timestamp: at}).FirstErr()
		if err == nil {
			a.tally.in(at, func(w *truth) { w.foreign++ })
		}
		return err
	})
	a.sink("s15", nil)
	from := a.later(2)
	a.settles(from, 6, 1, 40*time.Second, func(row *answer.LossRow, w answer.LossWindow) {
		did := a.tally.of(w.Window)
		if w.Verdict != "UNKNOWN" || w.Up != int64(did.made) || w.Down != int64(did.made+did.foreign) || w.Epsilon < int64(did.foreign) || w.Lost != 0 {
			t.Errorf("window %d, %+v: %+v", w.Window, did, w)
		}
		if w.Why == nil || w.Why.Class != "uninstrumented producer" {
			t.Errorf("window %d: %+v", w.Window, w.Why)
		}
	})
	a.calm()
}

// Of two readers one runs a version that does not count; then it is replaced. What it took was never lost.
func (a *apps) oneByOne() {
	t := a.t
	a.begin("one-by-one")
	if _, err := kadm.NewClient(a.client()).CreateTopic(a.ctx, 2, 1, nil, a.name); err != nil {
		t.Fatal(err)
	}
	a.source(a.name, 200, 0)
	old := a.reads(a.name, readers(a.name), func(*kgo.Record) error { return nil })
	a.sink(a.name, nil)
	a.within(60*time.Second, "both have taken over their partitions", func() (string, bool) {
		g, _ := a.group(a.name, readers(a.name))
		return fmt.Sprintf("%+v", g), g.Members != nil && *g.Members == 2 && g.GroupState == "Stable"
	})
	from := a.later(1)
	a.settles(from, 2, 1, 40*time.Second, func(_ *answer.LossRow, w answer.LossWindow) {
		missing := w.Up - w.Down
		if made := int64(a.tally.of(w.Window).made); w.Up != made || missing < made/10 || w.Verdict != "UNKNOWN" || w.Lost != 0 || w.Epsilon < missing || w.Why == nil || w.Why.Class != "counted in part" {
			t.Errorf("of %d: %+v %+v", made, w, w.Why)
		}
	})
	old()
	a.sink(a.name, nil)
	from = a.later(2)
	a.settles(from, 4, 1, 40*time.Second, func(_ *answer.LossRow, w answer.LossWindow) {
		if made := int64(a.tally.of(w.Window).made); w.Verdict != "OK" || w.Up != made || w.Down != made {
			t.Errorf("all count: %+v", w)
		}
	})
	a.calm()
}

// Scenario 25: the kernel drops datagrams with counts of the reader while its collector does not get to run. They look like
// records that were lost.
func (a *apps) datagramsDropped() {
	t := a.t
	bin, err := buildCollector()
	if err != nil {
		t.Fatal(err)
	}
	a.begin("s25", "s25")
	dir, door := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "collector.yaml")
	text := fmt.Sprintf("node: n25\ndata_dir: %q\nstatsd: {udp: %q, interval: 1s, readers: 1, receive_buffer: 65536}\notlp: {grpc: \"\", http: \"\"}\n"+
		"host: {node: false, containers: false}\nself_interval: 1s\naudit: {width: %ds, flush: 1s}\nserver: {url: %q}\n", filepath.Join(dir, "data"), door, a.width, a.url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	collector := child(t, exec.Command(bin, "-listen", "", "-config", file)).Process
	udp, err := net.Dial("udp", door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	a.source("s25", 300, 0)
	a.reads("s25", readers("s25"), func(k *kgo.Record) error { // one datagram for each record, which is what no client of ours does
		_, _ = fmt.Fprintf(udp, "weir.audit.in:1|c|#p:s25,st:sink,dst:s25,g:s25-readers,ew:%d", k.Timestamp.Unix()) // refused until the collector listens
		return nil
	})
	a.within(60*time.Second, "windows are settled", func() (string, bool) {
		n := value(t, a.url, `sum(weir_pipeline_verdicts_total{pipeline="s25",state="OK"})`)
		return fmt.Sprint(n), n >= 2
	})
	from := a.later(0)
	<-time.After(time.Until(time.Unix(from, 0)) + 500*time.Millisecond)
	if err := collector.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(3500 * time.Millisecond)
	if err := collector.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	uncounted := int64(0)
	a.settles(from, 5, 1, 60*time.Second, func(_ *answer.LossRow, w answer.LossWindow) {
		missing := w.Up - w.Down
		uncounted += missing
		switch {
		case w.Up != int64(a.tally.of(w.Window).made) || missing < 0 || w.Lost != 0 || w.Surplus != 0:
			t.Errorf("%+v", w)
		case missing > 0 && (w.Verdict != "UNKNOWN" || w.Epsilon < missing):
			t.Errorf("%d were not counted, and the window is %+v", missing, w)
		case w.Verdict != "OK" && w.Verdict != "UNKNOWN" || w.Window >= from+3*a.width && w.Verdict != "OK":
			t.Errorf("%+v", w)
		}
	})
	if uncounted == 0 {
		t.Error("the kernel dropped nothing")
	}
	a.calm()
}

// Scenario 24: 200,000 in, 149,391 delivered, and nobody tells of a drop.
func (a *apps) fluentBit() {
	t := a.t
	a.begin("fluent-bit")
	const in, out = 200_000, 149_391
	const flows = 40 * time.Second // counters are read every ten seconds: several readings see them grow
	began := time.Now()
	a.fluent.flows(flows, 100_000, 100_000)
	a.within(flows, "the pipeline is there and well", func() (string, bool) {
		p := a.page(a.name)
		return string(p.State) + ": " + p.Sentence, p.State == answer.OK && p.Level == "L1"
	})
	<-time.After(time.Until(began.Add(flows + 2*time.Second)))
	a.fluent.flows(10*time.Second, in-100_000, out-100_000)
	a.within(240*time.Second, "what is missing is told", func() (string, bool) {
		p := a.page(a.name)
		return fmt.Sprintf("%s, lost %d: %s", p.State, p.Lost24h, p.Sentence), p.Lost24h == in-out
	})
	var l answer.Loss
	a.asks("/api/v1/loss?pipeline="+a.name, &l)
	if len(l.Rows) != 1 {
		t.Fatalf("%+v", l.Rows)
	}
	r := l.Rows[0]
	if r.Verdict != "PROBABLE_LOSS" || r.Lost != in-out || r.Level != "L1" || r.Confidence > 0.9 || r.Where != "tail.0 → http.0" {
		t.Errorf("%+v", r)
	}
	if r.Up > in || r.Share != nil && (*r.Share <= 0 || *r.Share > 1) { // none where nothing came in in the window that it is told of
		t.Errorf("%+v, share %s", r, orNothing(r.Share))
	}
}
