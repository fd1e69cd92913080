package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/store"
)

// gaveUp are the changes of kind broker, newest first.
func gaveUp(changes []answer.Change) []string {
	var out []string
	for _, c := range changes {
		if c.Kind == changeBroker {
			out = append(out, c.Text)
		}
	}
	return out
}

// What RabbitMQ gives up as a whole is no loss of a pipeline that counts without a destination, and every pipeline shows it.
func TestUnplacedDiscards(t *testing.T) {
	d := newDemo(t, demoConfig())
	unroutable, expired := 7.0, 100.0
	run := func(seconds int) {
		for range seconds {
			d.count("mail", cell.Out, "", "", "mail-1", d.now*1000, 10)
			d.run(1)
			if d.now%10 == 0 {
				put := func(v float64, reason string, more ...string) {
					d.e.sample(d.now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, "weir_broker_discarded_total", "system", "rabbitmq", "cluster", "main", "node", "n1", "reason", reason}, more...)...))
				}
				put(unroutable, "unroutable")
				put(expired, "expired", "dead_lettered", "true")
			}
		}
	}
	run(120)
	page := func() answer.Pipeline {
		p, err := d.s.Pipeline(context.Background(), store.DefaultTenant, d.name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := gaveUp(page().Changes); len(got) != 0 {
		t.Errorf("nothing grew: %q", got)
	}
	unroutable, expired = 10, 105
	run(150)
	const first = "rabbitmq main gave up records since "
	got := gaveUp(page().Changes)
	if len(got) != 1 || !strings.HasPrefix(got[0], first) || !strings.HasSuffix(got[0], " and does not say of which destination: 5 expired (moved to a dead-letter destination), 3 unroutable.") {
		t.Errorf("%q", got)
	}
	now, err := d.s.Now(context.Background(), store.DefaultTenant)
	if err != nil || !slices.Equal(gaveUp(now.Changes), got) {
		t.Errorf("%+v %v", now.Changes, err)
	}
	// It goes on: one sentence in ten minutes, with the sum.
	for range 11 {
		unroutable++
		run(60)
	}
	if got = gaveUp(page().Changes); len(got) != 2 || !strings.HasSuffix(got[0], "destination: 9 unroutable.") && !strings.HasSuffix(got[0], "destination: 8 unroutable.") {
		t.Errorf("%q", got)
	}
	p := page()
	if p.Lost24h != 0 || p.State == answer.Losing {
		t.Errorf("%s lost %d: %s", p.State, p.Lost24h, p.Sentence)
	}
	for k, v := range d.e.verdicts {
		if k.Destination == "" && k.Kind == store.EdgeTransport || v.Lost > 0 {
			t.Errorf("%+v: %s lost %d", k, v.State, v.Lost)
		}
	}
	// A restart does not tell the last hour as if it were new.
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	run(60)
	if got = gaveUp(page().Changes); len(got) > 1 || len(got) == 1 && strings.Contains(got[0], "expired") {
		t.Errorf("%q", got)
	}
}

// A note names the ten most frequent reasons at most, and the book a thousand brokers.
func TestUnplacedIsBounded(t *testing.T) {
	u := &unplaced{sums: map[brokers.Discard]float64{}}
	for i := range 50 {
		u.sums[brokers.Discard{Reason: fmt.Sprint("reason ", i)}] = float64(1000 - i)
	}
	if s := u.sentence(brokers.ClusterKey{System: "rabbitmq", Cluster: "main"}); !strings.Contains(s, "1,000 reason 0, 999 reason 1") || !strings.HasSuffix(s, "992 reason 8, others for 41 more reasons.") {
		t.Errorf("%q", s)
	}
	var b unplacedBook
	var over tally
	for i := range maxUnplaced + 3 {
		b.add(&brokers.Queue{QueueKey: brokers.QueueKey{ClusterKey: brokers.ClusterKey{System: "rabbitmq", Cluster: fmt.Sprint(i)}}}, demoStart*1000, &over)
	}
	if len(b) != maxUnplaced || over != 3 {
		t.Errorf("%d brokers, %d left out", len(b), over)
	}
	if got := b.due(demoStart*1000 + 3*3_600_000); len(got) != 0 || len(b) != 0 {
		t.Errorf("%q, %d brokers", got, len(b))
	}
}

type tally int

func (c *tally) Inc() { *c++ }
