package otlp

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// Config says where OTLP is received. The zero value receives nothing.
type Config struct {
	// GRPC and HTTP are addresses to listen on; empty = this protocol is off.
	GRPC string `yaml:"grpc"`
	HTTP string `yaml:"http"`
	// MaxRequestBytes bounds one request after decompression.
	MaxRequestBytes int64 `yaml:"max_request_bytes"`
	// MaxInFlightBytes bounds all batches that are being handled at once, in bytes of their encoded form.
	// Beyond it a sender is told to come back later.
	MaxInFlightBytes int64 `yaml:"max_in_flight_bytes"`
	// ReadTimeout bounds how long a client may take to send a request over HTTP.
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// Service is service.name for senders that give none and whose origin is unknown.
	Service string `yaml:"service"`
	// SpanCells says from which messaging spans audit cells are counted: "auto", those that say that they are not sampled
	// (tracestate ot=th:0, or weir.sampling=none on the resource); "all", every one, which is right only when no application
	// samples; "off", none. Spans that are sampled are never counted exactly.
	SpanCells string `yaml:"span_cells"`
	// Receivers are further OpenTelemetry Collector receivers, by id ("type" or "type/name"), each with
	// its own configuration as in the OpenTelemetry Collector. Only the types that are built in are known (factories.go); an unknown one is an error.
	Receivers map[string]map[string]any `yaml:"receivers"`
}

// DefaultConfig listens on the usual ports of this machine only.
func DefaultConfig() Config {
	return Config{
		GRPC: "127.0.0.1:4317", HTTP: "127.0.0.1:4318",
		MaxRequestBytes: 8 << 20, MaxInFlightBytes: 64 << 20, ReadTimeout: 30 * time.Second,
		Service: "unknown_service", SpanCells: "auto",
	}
}

// Validate says what cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("otlp."+format, a...)) }
	for name, addr := range map[string]string{"grpc": c.GRPC, "http": c.HTTP} {
		if addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("%s %q is no address; use host:port such as 127.0.0.1:4317, or leave it empty to switch it off", name, addr)
		}
	}
	if c.GRPC != "" && c.GRPC == c.HTTP && !strings.HasSuffix(c.GRPC, ":0") {
		bad("grpc and otlp.http are both %q; give each a port of its own", c.GRPC)
	}
	if c.MaxRequestBytes < 1<<20 {
		bad("max_request_bytes %d is too small; use 1048576 or more", c.MaxRequestBytes)
	}
	if c.MaxInFlightBytes < c.MaxRequestBytes {
		bad("max_in_flight_bytes %d is less than max_request_bytes %d, so a large request could never pass; raise it", c.MaxInFlightBytes, c.MaxRequestBytes)
	}
	if c.SpanCells != "auto" && c.SpanCells != "all" && c.SpanCells != "off" {
		bad("span_cells is %q; use auto, all or off", c.SpanCells)
	}
	if c.ReadTimeout <= 0 {
		bad("read_timeout %s is not positive; use a time such as 30s", c.ReadTimeout)
	}
	if c.Service == "" {
		bad("service is empty; use %q", DefaultConfig().Service)
	}
	return errors.Join(errs...)
}

// instance is one receiver to host.
type instance struct {
	id      component.ID
	factory receiver.Factory
	cfg     component.Config
	hint    string // how to get out of a failed start
}

// instances prepares every configured receiver's configuration.
func (c Config) instances() ([]instance, error) {
	byType := map[component.Type]receiver.Factory{}
	var known []string
	for _, f := range factories() {
		byType[f.Type()] = f
		known = append(known, f.Type().String())
	}
	var list []instance
	if c.GRPC != "" || c.HTTP != "" {
		f := otlpreceiver.NewFactory()
		list = append(list, instance{
			id: component.NewIDWithName(f.Type(), "weir"), factory: f, cfg: c.builtin(f),
			hint: fmt.Sprintf("is another collector running? change otlp.grpc (now %q) or otlp.http (now %q)", c.GRPC, c.HTTP),
		})
	}
	for name, raw := range c.Receivers {
		var id component.ID
		if err := id.UnmarshalText([]byte(name)); err != nil {
			return nil, fmt.Errorf("cannot read otlp.receivers id %q, use type or type/name: %w", name, err)
		}
		f, ok := byType[id.Type()]
		if !ok {
			return nil, fmt.Errorf("otlp.receivers %q: there is no receiver of type %q in this build; it has %s", name, id.Type(), strings.Join(known, ", "))
		}
		cfg := f.CreateDefaultConfig()
		if err := confmap.NewFromStringMap(raw).Unmarshal(cfg); err != nil {
			return nil, fmt.Errorf("cannot read otlp.receivers %q: %w", name, err)
		}
		if v, ok := cfg.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return nil, fmt.Errorf("otlp.receivers %q: %w", name, err)
			}
		}
		list = append(list, instance{id: id, factory: f, cfg: cfg, hint: fmt.Sprintf("see otlp.receivers %q", name)})
	}
	return list, nil
}

// builtin translates grpc and http into the OTLP receiver's own configuration.
func (c Config) builtin(f receiver.Factory) component.Config {
	cfg := f.CreateDefaultConfig().(*otlpreceiver.Config)
	var none otlpreceiver.Protocols
	if c.GRPC != "" {
		g := cfg.Protocols.GRPC.GetOrInsertDefault()
		g.NetAddr.Endpoint = c.GRPC
		g.MaxRecvMsgSizeMiB = int((c.MaxRequestBytes + 1<<20 - 1) >> 20)
		g.MaxConcurrentStreams = 64
		g.ReadBufferSize = 64 << 10
	} else {
		cfg.Protocols.GRPC = none.GRPC
	}
	if c.HTTP != "" {
		h := cfg.Protocols.HTTP.GetOrInsertDefault()
		h.ServerConfig.NetAddr.Endpoint = c.HTTP
		h.ServerConfig.MaxRequestBodySize = c.MaxRequestBytes
		h.ServerConfig.ReadHeaderTimeout = c.ReadTimeout
		h.ServerConfig.ReadTimeout = c.ReadTimeout
		h.ServerConfig.IdleTimeout = 2 * time.Minute
	} else {
		cfg.Protocols.HTTP = none.HTTP
	}
	return cfg
}
