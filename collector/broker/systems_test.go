//go:build systems

package broker

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// These tests start the real brokers that are installed on this machine (make test-systems installs them where it can).
// With -record, what they answer becomes the fixtures of the ordinary tests.

var record = flag.Bool("record", false, "write what real brokers answer into testdata")

func TestSystemRabbitMQ(t *testing.T) {
	dir := t.TempDir()
	amqp, dist, mgmt, prom := freePort(t), freePort(t), freePort(t), freePort(t)
	conf := fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\nprometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = %d\nstream.listeners.tcp.1 = 127.0.0.1:%d\ncollect_statistics_interval = 1000\n", amqp, mgmt, prom, freePort(t))
	for name, text := range map[string]string{"rabbitmq.conf": conf, "enabled_plugins": "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_stream,rabbitmq_stream_management]."} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := "rabbitmq-server"
	if _, err := os.Stat("/usr/lib/rabbitmq/bin/rabbitmq-server"); err == nil {
		bin = "/usr/lib/rabbitmq/bin/rabbitmq-server" // the other one changes the user
	}
	start(t, []string{
		"HOME=" + dir, fmt.Sprintf("RABBITMQ_NODENAME=weir%d@localhost", dist), fmt.Sprintf("RABBITMQ_DIST_PORT=%d", dist), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", fmt.Sprintf("RABBITMQ_NODE_PORT=%d", amqp), "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq"), "RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(dir, "none"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "enabled_plugins"),
	}, bin)
	base := fmt.Sprintf("http://127.0.0.1:%d", mgmt)
	do := func(method, path, body string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		req.SetBasicAuth("guest", "guest")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // a test
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode >= 300 {
			err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
		}
		return string(b), err
	}
	must := func(method, path, body string) string {
		t.Helper()
		s, err := do(method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	eventually(t, 90*time.Second, func() error { _, err := do("GET", "/api/overview", ""); return err })
	must("PUT", "/api/vhosts/eu", "")
	must("PUT", "/api/queues/%2f/orders", `{"durable":true}`)
	must("PUT", "/api/queues/%2f/quorum", `{"durable":true,"arguments":{"x-queue-type":"quorum"}}`)
	must("PUT", "/api/queues/%2f/short", `{"durable":true,"arguments":{"x-max-length":3}}`)
	must("PUT", "/api/queues/%2f/ttl", `{"durable":true,"arguments":{"x-message-ttl":500}}`)
	must("PUT", "/api/queues/%2f/log", `{"durable":true,"arguments":{"x-queue-type":"stream"}}`)
	must("PUT", "/api/queues/eu/orders", `{"durable":true}`)
	at := time.Now().Add(-time.Minute).Unix()
	publish := func(vhost, queue string, n int) {
		t.Helper()
		for i := range n {
			must("POST", "/api/exchanges/"+vhost+"/amq.default/publish", fmt.Sprintf(`{"properties":{"timestamp":%d},"routing_key":%q,"payload":"x","payload_encoding":"string"}`, at+int64(i), queue))
		}
	}
	for _, q := range []string{"orders", "quorum", "short", "ttl", "log"} {
		publish("%2f", q, 10)
	}
	publish("eu", "orders", 2)
	must("POST", "/api/queues/%2f/orders/get", `{"count":4,"ackmode":"ack_requeue_false","encoding":"auto"}`)

	t.Setenv("WEIR_TEST_RABBIT", "guest")
	cfg := RabbitMQConfig{URL: base, MetricsURL: []string{fmt.Sprintf("http://127.0.0.1:%d/metrics", prom)}, Cluster: "q", User: "guest", PasswordEnv: "WEIR_TEST_RABBIT"}.withDefaults()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := newRabbitMQ(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	eventually(t, 30*time.Second, func() error { // the management plugin's figures follow with a delay
		s, err := r.poll(context.WithoutCancel(t.Context()))
		if err != nil {
			return err
		}
		return rabbitDifference(s)
	})
	if *record {
		r.record(t, base)
	}
}

func (r *rabbitSystem) record(t *testing.T, base string) {
	t.Helper()
	q := "?page=1&page_size=500&pagination=true&columns=" + rabbitColumns
	for name, u := range map[string]string{"queues.json": base + "/api/queues" + q, "consumers.json": base + "/api/stream/consumers", "metrics.txt": r.cfg.MetricsURL[0]} {
		body, err := r.get(t.Context(), u, name != "metrics.txt")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if name == "metrics.txt" { // what is read of it
			var keep []string
			for l := range strings.Lines(string(b)) {
				if strings.Contains(l, "_dead_lettered_") || strings.Contains(l, "_unroutable_") {
					keep = append(keep, l)
				}
			}
			b = []byte(strings.Join(keep, ""))
		}
		if err := os.MkdirAll("testdata/rabbitmq", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", "rabbitmq", name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
