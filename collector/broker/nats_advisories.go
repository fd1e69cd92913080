package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
)

// natsGivenUp names the advisories of messages that a consumer does not get any more, and why. A message that was
// answered with a nak comes again, so it is none of them.
var natsGivenUp = map[string]string{
	"MAX_DELIVERIES": "max_deliveries",
	"MSG_TERMINATED": "terminated",
}

const natsAdvisoryPrefix = "$JS.EVENT.ADVISORY.CONSUMER."

// natsAdvisories counts advisories by stream since the collector began. They are told once and never kept: what comes
// while nobody listens is not counted, which makes the count a lower bound.
type natsAdvisories struct {
	mu     sync.Mutex
	counts map[string]map[string]float64 // stream → reason → messages
	limit  int
	heard  bool // there is a subscription

	unreadable, overflow *metrics.Counter
}

func newNATSAdvisories(cfg NATSConfig, set *metrics.Set) *natsAdvisories {
	counter := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_skipped_total{system=%q,cluster=%q,reason=%q}`, systemNATS, cfg.Cluster, reason))
	}
	return &natsAdvisories{
		counts: map[string]map[string]float64{}, limit: cfg.MaxStreams, heard: cfg.Advisories,
		unreadable: counter("bad_advisory"), overflow: counter("advisory_streams"),
	}
}

func (a *natsAdvisories) listen(nc *nats.Conn) error {
	for kind := range natsGivenUp {
		if _, err := nc.Subscribe(natsAdvisoryPrefix+kind+".>", a.take); err != nil {
			return err
		}
	}
	return nil
}

// take counts one advisory. The stream stands in the body: its name may hold what a subject cannot.
func (a *natsAdvisories) take(m *nats.Msg) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, natsAdvisoryPrefix), ".")
	var body struct {
		Stream string `json:"stream"`
	}
	reason := natsGivenUp[kind]
	if err := json.Unmarshal(m.Data, &body); err != nil || body.Stream == "" || reason == "" {
		a.unreadable.Inc()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counts[body.Stream]
	if c == nil {
		if len(a.counts) >= a.limit {
			a.overflow.Inc()
			return
		}
		c = map[string]float64{}
		a.counts[body.Stream] = c
	}
	c[reason]++
}

// destination tells a stream's identity and what its consumers gave up. A stream made anew under its name has another
// time of creation. Where advisories are heard every reason is told from 0 on: readers take the first figure as the
// beginning, and what stood in it would count nowhere.
func (a *natsAdvisories) destination(stream string, created time.Time) destinationState {
	d := destinationState{destination: stream, id: strconv.FormatInt(created.UnixMicro(), 36), published: -1, consumed: -1, redelivered: -1}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.heard {
		return d
	}
	for _, kind := range slices.Sorted(maps.Keys(natsGivenUp)) {
		reason := natsGivenUp[kind]
		d.discarded = append(d.discarded, discard{reason: reason, n: a.counts[stream][reason]})
	}
	return d
}
