package main

import (
	"fmt"
	"strings"
)

// serverConfig is the server's file: everything on loopback, one-second pages, tight objectives so that a
// scene shows within seconds.
func (h *house) serverConfig() string {
	return fmt.Sprintf(`# Written by the demo.
data_dir: %q
http:
  listen: %s
ingest:
  pairs:
    window: %s
pipelines:
  grace: %s
  lag: 10s
  freshness: 15s
alerts:
  late_for: 5s
  webhook:
    external_url: http://%s
`, h.path("server"), h.opt.Listen, h.opt.Window, h.opt.Grace, h.opt.Listen)
}

// collectorConfig is the collector's file: the demo's socket, broker and targets, flushed every second.
func (h *house) collectorConfig() string {
	var targets strings.Builder
	for _, a := range h.apps {
		fmt.Fprintf(&targets, "    - job: %s\n      addresses: [%s]\n      service: %s\n      container: %s\n      interval: 5s\n", a.service, a.listen, a.service, a.name)
	}
	return fmt.Sprintf(`# Written by the demo.
node: demo
data_dir: %q
server:
  url: http://%s
statsd:
  udp: ""
  unix: %q
  interval: 1s
audit:
  width: %s
  flush: 1s
otlp:
  grpc: %s
  http: %s
broker:
  nats:
    - url: nats://%s
      cluster: demo
      interval: 1s
  kafka:
    - brokers: [%s]
      cluster: demo-kafka
      interval: 1s
host:
  interval: 5s
scrape:
  targets:
    - job: weir
      addresses: [%s]
      service: weir
      interval: 5s
%s`, h.path("collector"), h.opt.Listen, h.socket, h.opt.Window, h.otlpGRPC, h.otlpHTTP, h.natsAddr, h.kafkaAddr, h.opt.Listen, targets.String())
}
