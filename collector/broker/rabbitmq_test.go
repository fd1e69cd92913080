package broker

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	gocmp "github.com/google/go-cmp/cmp"
)

// rabbitDifference compares a poll with what TestSystemRabbitMQ did: ten messages to each queue, four read of orders.
func rabbitDifference(s snapshot) error {
	var got []string
	for _, p := range s.partitions {
		got = append(got, fmt.Sprintf("%s end %d waiting %d synthetic %v ttl %s max %d", p.destination, p.end, p.end-p.start, p.synthetic, p.maxAge, max(p.maxMessages, 0)))
	}
	for _, g := range s.groups {
		got = append(got, fmt.Sprintf("%s read %d stamped %v", g.group, g.committed, !g.committedAt.IsZero()))
	}
	for _, d := range s.destinations {
		for _, x := range d.discarded {
			if x.n > 0 {
				got = append(got, fmt.Sprintf("%s%s dead letter %v: %.0f", d.destination, x.reason, x.deadLettered, x.n))
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"eu/orders end 2 waiting 2 synthetic true ttl 0s max 0", "eu/orders read 0 stamped true",
		"expired dead letter false: 10", "maxlen dead letter false: 7",
		"log end 10 waiting 10 synthetic true ttl 0s max 0",
		"orders end 10 waiting 6 synthetic true ttl 0s max 0", "orders read 4 stamped true",
		"quorum end 10 waiting 10 synthetic true ttl 0s max 0", "quorum read 0 stamped false",
		"short end 10 waiting 3 synthetic true ttl 0s max 3", "short read 7 stamped true",
		"ttl end 10 waiting 0 synthetic true ttl 500ms max 0", "ttl read 10 stamped false",
	}
	slices.Sort(want)
	if d := gocmp.Diff(want, got); d != "" {
		return fmt.Errorf("differs (-want +got):\n%s", d)
	}
	return nil
}

// rabbitServer answers from a folder of fixtures; change may alter a file on its way out.
func rabbitServer(t *testing.T, change func(name, text string) (int, string)) *rabbitSystem {
	t.Helper()
	mux := http.NewServeMux()
	file := func(pattern, name string, login bool) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			if user, pass, ok := req.BasicAuth(); login && (user != "weir" || pass != "secret") || !login && ok {
				t.Errorf("%s: credentials %v", pattern, ok)
			}
			b, err := os.ReadFile(filepath.Join("testdata", "rabbitmq", name))
			if err != nil {
				t.Error(err)
			}
			code, text := http.StatusOK, string(b)
			if change != nil {
				code, text = change(name, text)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		})
	}
	file("GET /api/queues", "queues.json", true)
	file("GET /api/stream/consumers", "consumers.json", true)
	file("GET /metrics", "metrics.txt", false)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Setenv("RABBIT_PASSWORD", "secret")
	cfg := RabbitMQConfig{URL: srv.URL, MetricsURL: []string{srv.URL + "/metrics"}, Cluster: "q", User: "weir", PasswordEnv: "RABBIT_PASSWORD"}.withDefaults()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := newRabbitMQ(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func TestRabbitMQ(t *testing.T) {
	s, err := rabbitServer(t, nil).poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rabbitDifference(s); err != nil {
		t.Error(err)
	}
}

// A counter that begins anew with its node does not take positions back, and what waits is still known.
func TestRabbitMQCountersBeginAnew(t *testing.T) {
	publish := 10
	r := rabbitServer(t, func(name, text string) (int, string) {
		if name != "queues.json" {
			return http.StatusNotFound, ""
		}
		return http.StatusOK, fmt.Sprintf(`{"page_count":1,"items":[{"name":"orders","vhost":"/","type":"classic","state":"running","messages":3,"messages_ready":2,"messages_unacknowledged":1,"message_stats":{"publish":%d}}]}`, publish)
	})
	r.cfg.MetricsURL = nil
	for i, want := range []struct{ publish, end, committed uint64 }{{10, 10, 7}, {15, 15, 12}, {2, 17, 14}, {4, 19, 16}} {
		publish = int(want.publish)
		s, err := r.poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p, g := s.partitions[0], s.groups[0]; p.end != want.end || g.committed != want.committed || g.delivered != want.end-2 {
			t.Errorf("poll %d: end %d, committed %d, delivered %d; want %+v", i, p.end, g.committed, g.delivered, want)
		}
	}
}

func TestRabbitMQBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		code       int
		want       string // part of the error; empty = none
		parts      int
	}{
		"no rights":        {"queues.json", "", http.StatusForbidden, `user "weir" must have the tag monitoring`, 0},
		"torn":             {"queues.json", `{"items":[{"na`, 200, "cannot read the answer", 0},
		"words in figures": {"queues.json", `{"page_count":1,"items":[{"name":"a","messages":"undefined","messages_ready":"","state":"running"},{"name":"b","messages":1,"messages_ready":1,"message_bytes":-5,"head_message_timestamp":""}]}`, 200, "", 1},
		"absurd figures":   {"queues.json", `{"page_count":1,"items":[{"name":"b","messages":1e300,"messages_ready":1,"message_stats":{"publish":-7}}]}`, 200, "", 1},
		"node down":        {"queues.json", `{"page_count":1,"items":[{"name":"b","state":"down","type":"classic"}]}`, 200, "", 0},
		"metrics away":     {"metrics.txt", "", http.StatusServiceUnavailable, "status 503", 6},
		"metrics nonsense": {"metrics.txt", "rabbitmq_global_messages_dead_lettered_expired_total{x\n\x00\xff{}} NaN", 200, "", 6},
		"no stream plugin": {"consumers.json", "", http.StatusNotFound, "", 6},
	} {
		t.Run(name, func(t *testing.T) {
			r := rabbitServer(t, func(file, text string) (int, string) {
				if file == c.file {
					return c.code, c.text
				}
				return http.StatusOK, text
			})
			s, err := r.poll(t.Context())
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(s.partitions) != c.parts {
				t.Errorf("%d partitions, want %d", len(s.partitions), c.parts)
			}
		})
	}
}

// Readers of a stream queue tell their own offset; of several members of one name the last counts.
func TestRabbitMQStreamReaders(t *testing.T) {
	r := rabbitServer(t, func(file, text string) (int, string) {
		if file == "consumers.json" {
			return http.StatusOK, `[{"queue":{"name":"log","vhost":"/"},"offset_lag":3,"properties":{"name":"enrich"}},
				{"queue":{"name":"log","vhost":"/"},"offset_lag":7,"properties":{"name":"enrich"}},
				{"queue":{"name":"log","vhost":"/"},"offset_lag":1,"properties":{}},
				{"queue":{"name":"gone","vhost":"/"},"offset_lag":1,"properties":{"name":"enrich"}}]`
		}
		return http.StatusOK, text
	})
	s, err := r.poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.groups, func(g groupState) bool { return g.destination == "log" })
	if i < 0 || s.groups[i].group != "enrich" || s.groups[i].committed != 3 || s.groups[i].pending != 7 {
		t.Errorf("groups %+v", s.groups)
	}
	j := slices.IndexFunc(s.members, func(m memberState) bool { return m.group == "enrich" })
	if j < 0 || s.members[j].members != 2 {
		t.Errorf("members %+v", s.members)
	}
}

func TestRabbitMQConfigComplaints(t *testing.T) {
	for want, edit := range map[string]func(*RabbitMQConfig){
		`cannot read url "amqp://host"`:       func(c *RabbitMQConfig) { c.URL = "amqp://host" },
		`carries a secret`:                    func(c *RabbitMQConfig) { c.URL = "http://u:p@host" },
		`interval 1s is too short`:            func(c *RabbitMQConfig) { c.Interval = time.Second },
		`cannot read queue pattern "["`:       func(c *RabbitMQConfig) { c.Include = []string{"["} },
		`are both set; keep one`:              func(c *RabbitMQConfig) { c.PasswordEnv, c.PasswordFile = "A", "b" },
		`belong together; set both`:           func(c *RabbitMQConfig) { c.CertFile = "x" },
		`cluster is empty`:                    func(c *RabbitMQConfig) { c.Cluster = "" },
		`max_queues -1 must be positive`:      func(c *RabbitMQConfig) { c.MaxQueues = -1 },
		`timeout -1s is negative; use a time`: func(c *RabbitMQConfig) { c.Timeout = -time.Second },
	} {
		c := DefaultRabbitMQConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := DefaultRabbitMQConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		name             string
		include, exclude []string
		want             bool
	}{
		{"orders", nil, nil, true},
		{"a/b", []string{"a*"}, nil, true},
		{"a/b", []string{"*"}, []string{"a/*"}, false},
		{"amq.gen-x", nil, []string{"amq.gen-*"}, false},
		{"orders", []string{"eu/*"}, nil, false},
	} {
		if got := wanted(c.name, c.include, c.exclude); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// rabbitTold lists what is told of the one queue of an answer, by the names of its series.
func rabbitTold(t *testing.T, s snapshot) string {
	t.Helper()
	if len(s.partitions) != 1 {
		t.Fatalf("%d partitions", len(s.partitions))
	}
	var out []string
	for i := range partitionFigures {
		if v, ok := s.partitions[0].value(i); ok {
			out = append(out, fmt.Sprintf("%s %g", strings.TrimPrefix(partitionFigures[i].name, "weir_broker_"), v))
		}
	}
	for j := range s.groups {
		for i := range groupFigures {
			if v, ok := s.groups[j].value(i); ok {
				out = append(out, fmt.Sprintf("%s %g", strings.TrimPrefix(groupFigures[i].name, "weir_broker_"), v))
			}
		}
	}
	return strings.Join(out, ", ")
}

// A queue without a counter of what is published tells what waits and no positions, a new and empty one too. One that counted
// before its node began anew stands where it stood until something comes.
func TestRabbitMQWithoutCounters(t *testing.T) {
	queue := ""
	r := rabbitServer(t, func(name, text string) (int, string) {
		if name != "queues.json" {
			return http.StatusNotFound, ""
		}
		return http.StatusOK, `{"page_count":1,"items":[{"name":"jobs","vhost":"/","state":"running",` + queue + `}]}`
	})
	r.cfg.MetricsURL = nil
	const classic, stream = `"type":"classic",`, `"type":"stream",`
	for _, c := range []struct{ queue, want string }{
		{classic + `"messages":1000,"messages_ready":1000,"messages_unacknowledged":0`, "messages 1000, bytes 0, pending_messages 1000, unacked_messages 0, redelivered_messages 0"},
		{classic + `"messages":0,"messages_ready":0`, "messages 0, bytes 0, pending_messages 0, unacked_messages 0, redelivered_messages 0"},
		{
			classic + `"messages":500,"messages_ready":490,"messages_unacknowledged":10,"head_message_timestamp":1795878049`,
			"messages 500, bytes 0, pending_messages 490, unacked_messages 10, redelivered_messages 0, committed_timestamp_seconds 1.795878049e+09",
		},
		{classic + `"messages":5,"messages_ready":5,"message_stats":{"ack":7}`, "messages 5, bytes 0, pending_messages 5, unacked_messages 0, redelivered_messages 0"},
		// It begins to count, its node restarts, something comes uncounted, it counts again: positions do not fall.
		{
			classic + `"messages":5,"messages_ready":5,"message_stats":{"publish":100}`,
			"start_offset 95, end_offset 100, messages 5, bytes 0, synthetic 1, committed_offset 95, delivered_offset 95, pending_messages 5, unacked_messages 0, redelivered_messages 0",
		},
		{
			classic + `"messages":3,"messages_ready":3`,
			"start_offset 97, end_offset 100, messages 3, bytes 0, synthetic 1, committed_offset 97, delivered_offset 97, pending_messages 3, unacked_messages 0, redelivered_messages 0",
		},
		{classic + `"messages":4,"messages_ready":4`, "messages 4, bytes 0, pending_messages 4, unacked_messages 0, redelivered_messages 0"},
		{classic + `"messages":3,"messages_ready":3`, "messages 3, bytes 0, pending_messages 3, unacked_messages 0, redelivered_messages 0"},
		{
			classic + `"messages":4,"messages_ready":4,"message_stats":{"publish":2}`,
			"start_offset 98, end_offset 102, messages 4, bytes 0, synthetic 1, committed_offset 98, delivered_offset 98, pending_messages 4, unacked_messages 0, redelivered_messages 0",
		},
	} {
		queue = c.queue
		s, err := r.poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := rabbitTold(t, s); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.queue, got, c.want)
		}
	}
	// A stream keeps what was read, so its growth is what was published, and retention takes nothing back.
	r.positions = map[string]*rabbitPosition{}
	for _, c := range []struct{ held, end int }{{100, 100}, {150, 150}, {80, 150}, {90, 160}, {200, 270}} {
		queue = stream + fmt.Sprintf(`"messages":%d,"messages_ready":%[1]d`, c.held)
		s, err := r.poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p := s.partitions[0]; p.unplaced || int(p.end) != c.end || int(p.start) != c.end-c.held {
			t.Errorf("a stream that holds %d: %+v", c.held, p)
		}
	}
}
