package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	systemRabbitMQ = "rabbitmq"
	// rabbitPage is how many queues one answer holds.
	rabbitPage = 500
	// rabbitBody bounds one answer, bytes.
	rabbitBody = 32 << 20
	// rabbitPartition is the partition label: a queue has one order.
	rabbitPartition = "0"
	// rabbitStream is the type of queue that keeps what was read.
	rabbitStream = "stream"
)

// rabbitSystem asks the management API of one cluster. RabbitMQ's queues have no offsets: positions are made out of
// what was published (end) and what waits (committed = end − backlog), and are marked synthetic. Of a queue that does not
// count what is published (AMQP 1.0) only what waits is told.
type rabbitSystem struct {
	cfg    RabbitMQConfig
	log    *slog.Logger
	client *http.Client

	positions map[string]*rabbitPosition
	round     uint64

	skipped, noStreams, noMetrics *metrics.Counter
}

func newRabbitMQ(cfg RabbitMQConfig, set *metrics.Set, log *slog.Logger) *rabbitSystem {
	count := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_skipped_total{system=%q,cluster=%q,reason=%q}`, systemRabbitMQ, cfg.Cluster, reason))
	}
	return &rabbitSystem{
		cfg: cfg, log: log, positions: map[string]*rabbitPosition{},
		skipped: count("max_queues"), noStreams: count("stream_management"), noMetrics: count("prometheus"),
	}
}

func (r *rabbitSystem) open() (err error) {
	if _, err = secret("password", r.cfg.PasswordFile, r.cfg.PasswordEnv); err != nil {
		return err
	}
	r.client, err = r.cfg.client()
	return err
}

func (r *rabbitSystem) close() { r.client.CloseIdleConnections() }

// rabbitQueue is what is read of a queue.
type rabbitQueue struct {
	Name, Vhost, Type, State string
	Messages                 number            `json:"messages"`
	Ready                    number            `json:"messages_ready"`
	Unacked                  number            `json:"messages_unacknowledged"`
	Bytes                    number            `json:"message_bytes"`
	Head                     number            `json:"head_message_timestamp"` // Unix seconds, when publishers set it
	Consumers                number            `json:"consumers"`
	Arguments                map[string]any    `json:"arguments"`
	Policy                   map[string]any    `json:"effective_policy_definition"`
	Stats                    *rabbitQueueStats `json:"message_stats"`
}

type rabbitQueueStats struct {
	Publish      number `json:"publish"`
	Ack          number `json:"ack"`
	DeliverNoAck number `json:"deliver_no_ack"`
	GetNoAck     number `json:"get_no_ack"`
	Redeliver    number `json:"redeliver"`
}

// number is a figure that may be missing. RabbitMQ writes "" or "undefined" where it knows none.
type number struct {
	v     float64
	known bool
}

func (n *number) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	*n = number{}
	if err == nil && f >= 0 && f <= 1<<52 {
		*n = number{f, true}
	}
	return nil // one figure that cannot be read must not cost all others
}

const rabbitColumns = "name,vhost,type,state,messages,messages_ready,messages_unacknowledged,message_bytes,head_message_timestamp,consumers,arguments,effective_policy_definition," +
	"message_stats.publish,message_stats.ack,message_stats.deliver_no_ack,message_stats.get_no_ack,message_stats.redeliver"

func (r *rabbitSystem) poll(ctx context.Context) (snapshot, error) {
	var snap snapshot
	r.round++
	queues := 0
	for page := 1; ; page++ {
		var answer struct {
			Items     []rabbitQueue `json:"items"`
			PageCount int           `json:"page_count"`
		}
		q := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(rabbitPage)}, "columns": {rabbitColumns}, "pagination": {"true"}}
		if err := r.ask(ctx, "/api/queues?"+q.Encode(), &answer); err != nil {
			return snap, fmt.Errorf("cannot list queues: %w", err)
		}
		for i := range answer.Items {
			if !wanted(rabbitName(&answer.Items[i]), r.cfg.Include, r.cfg.Exclude) {
				continue
			}
			if queues++; queues > r.cfg.MaxQueues {
				r.skipped.Inc()
				continue
			}
			r.queue(&snap, &answer.Items[i])
		}
		if page >= answer.PageCount || len(answer.Items) == 0 {
			break
		}
	}
	for name, p := range r.positions {
		if p.round != r.round {
			delete(r.positions, name)
		}
	}
	err := errors.Join(r.streams(ctx, &snap), r.global(ctx, &snap))
	return snap, err
}

// rabbitName is the label destination: the queue's name, after its vhost where that is not "/".
func rabbitName(q *rabbitQueue) string {
	if q.Vhost == "/" || q.Vhost == "" {
		return q.Name
	}
	return q.Vhost + "/" + q.Name
}

func (r *rabbitSystem) queue(snap *snapshot, q *rabbitQueue) {
	name := rabbitName(q)
	if q.State == "down" || !q.Messages.known && !q.Ready.known {
		// The node that holds it is away: what waits there is not known, and not 0.
		snap.members = append(snap.members, memberState{group: name, kind: q.Type, state: q.State, members: -1, epoch: -1})
		return
	}
	backlog := q.Ready.v + q.Unacked.v
	var stats rabbitQueueStats
	if q.Stats != nil {
		stats = *q.Stats
	}
	counted, end := stats.Publish.known || q.Type == rabbitStream || r.still(name, backlog), backlog
	if counted {
		end = r.end(name, stats.Publish, backlog)
	}
	part := partitionState{
		destination: name, partition: rabbitPartition, start: uint64(end - backlog), end: uint64(end),
		tells: toldMessages | toldBytes, messages: uint64(backlog), bytes: uint64(q.Bytes.v), synthetic: counted, unplaced: !counted,
		maxAge:      time.Duration(rabbitLimit(q, "x-message-ttl", "message-ttl") * float64(time.Millisecond)),
		maxMessages: int64(rabbitLimit(q, "x-max-length", "max-length")), maxBytes: int64(rabbitLimit(q, "x-max-length-bytes", "max-length-bytes")),
	}
	d := destinationState{destination: name, published: -1, consumed: -1, redelivered: -1}
	if q.Stats != nil {
		d.consumed, d.redelivered = stats.Ack.v+stats.DeliverNoAck.v+stats.GetNoAck.v, stats.Redeliver.v
		if stats.Publish.known {
			d.published = stats.Publish.v
		}
	}
	snap.partitions = append(snap.partitions, part)
	snap.destinations = append(snap.destinations, d)
	if q.Type == rabbitStream {
		return // read by offset, by any number of groups: streams tells them
	}
	g := groupState{
		destination: name, partition: rabbitPartition, group: name, committed: uint64(end - backlog), unplaced: !counted,
		tells: toldPending | toldUnacked | toldRedelivered, delivered: uint64(end - q.Ready.v),
		pending: uint64(q.Ready.v), unacked: uint64(q.Unacked.v), redelivered: uint64(stats.Redeliver.v),
	}
	if counted {
		g.tells |= toldDelivered
	}
	if q.Head.v > 0 && backlog > 0 {
		g.committedAt = time.UnixMilli(int64(q.Head.v * 1000))
	}
	snap.groups = append(snap.groups, g)
	m := memberState{group: name, kind: q.Type, state: q.State, members: -1, epoch: -1}
	if q.Consumers.known {
		m.members = int(q.Consumers.v)
	}
	snap.members = append(snap.members, m)
}

// rabbitLimit reads a limit from a queue's arguments or its policy, the lower of both; 0 = none.
func rabbitLimit(q *rabbitQueue, argument, policy string) float64 {
	limit := 0.0
	for _, v := range []any{q.Arguments[argument], q.Policy[policy]} {
		if f, ok := v.(float64); ok && f > 0 && f < 1<<52 && (limit == 0 || f < limit) {
			limit = f
		}
	}
	return limit
}

// rabbitStreamConsumer is one reader of a stream queue.
type rabbitStreamConsumer struct {
	Queue struct {
		Name, Vhost string
	} `json:"queue"`
	Lag        number         `json:"offset_lag"`
	Properties map[string]any `json:"properties"`
}

// streams asks how far the readers of streams are. Each names itself (property name); those that do not are skipped.
func (r *rabbitSystem) streams(ctx context.Context, snap *snapshot) error {
	ends := map[string]*partitionState{}
	for i := range snap.partitions {
		ends[snap.partitions[i].destination] = &snap.partitions[i]
	}
	for i := range snap.groups {
		delete(ends, snap.groups[i].destination)
	}
	if len(ends) == 0 {
		return nil
	}
	var consumers []rabbitStreamConsumer
	switch err := r.ask(ctx, "/api/stream/consumers", &consumers); {
	case errors.Is(err, errNoSuchPage):
		r.noStreams.Inc() // the plugin rabbitmq_stream_management is off
		return nil
	case err != nil:
		return fmt.Errorf("cannot list readers of streams: %w", err)
	}
	type key struct{ destination, group string }
	worst := map[key]int{}
	members := map[string]int{}
	for i := range consumers {
		c := &consumers[i]
		group, _ := c.Properties["name"].(string)
		dest := rabbitName(&rabbitQueue{Name: c.Queue.Name, Vhost: c.Queue.Vhost})
		p := ends[dest]
		if group == "" || p == nil || !c.Lag.known {
			continue
		}
		members[group]++
		lag := c.Lag.v
		g := groupState{
			destination: dest, partition: rabbitPartition, group: group, tells: toldPending,
			committed: p.end - min(p.end, uint64(lag)), pending: uint64(lag),
		}
		k := key{dest, group}
		if j, ok := worst[k]; ok { // several members: the one that is furthest behind
			if snap.groups[j].committed > g.committed {
				snap.groups[j] = g
			}
			continue
		}
		worst[k] = len(snap.groups)
		snap.groups = append(snap.groups, g)
	}
	for g, n := range members {
		snap.members = append(snap.members, memberState{group: g, kind: "stream", state: "running", members: n, epoch: -1})
	}
	return nil
}

// rabbitGivenUp names what the Prometheus plugin counts and why the messages were given up.
var rabbitGivenUp = map[string]string{
	"rabbitmq_global_messages_unroutable_dropped_total":           "unroutable",
	"rabbitmq_global_messages_dead_lettered_expired_total":        "expired",
	"rabbitmq_global_messages_dead_lettered_maxlen_total":         "maxlen",
	"rabbitmq_global_messages_dead_lettered_rejected_total":       "rejected",
	"rabbitmq_global_messages_dead_lettered_delivery_limit_total": "delivery_limit",
}

// global reads what the cluster as a whole gave up. The plugin's channel counters go down when channels close, so only
// rabbitmq_global_… is read. dead_letter_strategy "disabled" means there was no dead-letter destination: really lost.
func (r *rabbitSystem) global(ctx context.Context, snap *snapshot) error {
	if len(r.cfg.MetricsURL) == 0 {
		return nil
	}
	sums := map[discard]float64{}
	var errs []error
	for _, u := range r.cfg.MetricsURL {
		body, err := r.get(ctx, u, false)
		if err != nil {
			r.noMetrics.Inc()
			errs = append(errs, fmt.Errorf("cannot read %q: %w", u, err))
			continue
		}
		sc := bufio.NewScanner(io.LimitReader(body, rabbitBody))
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			d, n, ok := rabbitDiscard(sc.Text())
			if ok {
				sums[d] += n
			}
		}
		errs = append(errs, sc.Err(), body.Close())
	}
	if len(errs) > 0 && errors.Join(errs...) != nil {
		return errors.Join(errs...) // a sum that lacks a node would look like a restart
	}
	d := destinationState{published: -1, consumed: -1, redelivered: -1}
	for k, n := range sums {
		k.n = n
		d.discarded = append(d.discarded, k)
	}
	snap.destinations = append(snap.destinations, d)
	return nil
}

// rabbitDiscard reads one line of the exposition; n of the key stays 0.
func rabbitDiscard(line string) (d discard, n float64, ok bool) {
	name, rest, _ := strings.Cut(line, "{")
	reason := rabbitGivenUp[name]
	if reason == "" {
		return d, 0, false
	}
	labels, value, found := strings.Cut(rest, "}")
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if !found || err != nil || !(n >= 0) {
		return d, 0, false
	}
	dead := strings.Contains(name, "dead_lettered") && !strings.Contains(labels, `dead_letter_strategy="disabled"`)
	return discard{reason: reason, deadLettered: dead}, n, true
}

var errNoSuchPage = errors.New("no such page")

func (r *rabbitSystem) ask(ctx context.Context, p string, into any) error {
	body, err := r.get(ctx, strings.TrimSuffix(r.cfg.URL, "/")+p, true)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, rabbitBody)).Decode(into); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	return nil
}

// get asks with credentials only where they belong: the management API.
func (r *rabbitSystem) get(ctx context.Context, u string, login bool) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return nil, err
	}
	if login && r.cfg.User != "" {
		password, err := secret("password", r.cfg.PasswordFile, r.cfg.PasswordEnv)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(r.cfg.User, password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound:
		err = errNoSuchPage
	case http.StatusUnauthorized, http.StatusForbidden:
		err = fmt.Errorf("status %d: user %q must have the tag monitoring", resp.StatusCode, r.cfg.User)
	default:
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil, errors.Join(err, resp.Body.Close())
}
