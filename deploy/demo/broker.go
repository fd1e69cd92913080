package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weirhq/weir/deploy/demo/clicks"
)

// Run is a whole NATS server with JetStream, until ctx ends.
func (c *brokerCmd) Run(ctx context.Context, logger *slog.Logger) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("cannot use address %q: %w", c.Listen, err)
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("cannot use port %q: %w", port, err)
	}
	s, err := server.NewServer(&server.Options{
		Host: host, Port: p, JetStream: true, StoreDir: c.Dir, NoSigs: true, ServerName: "demo",
		JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		return fmt.Errorf("cannot prepare the broker: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the broker does not become ready: is its port taken?")
	}
	logger.Info("broker is ready", "listen", c.Listen)
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// Run is a Kafka broker in memory with the topic of clicks, until ctx ends.
func (c *kafkaCmd) Run(ctx context.Context, logger *slog.Logger) error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("cannot use address %q: %w", c.Listen, err)
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("cannot use port %q: %w", port, err)
	}
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(p), kfake.SeedTopics(clicks.Partitions, clicks.Topic))
	if err != nil {
		return fmt.Errorf("cannot start Kafka: %w", err)
	}
	defer k.Close()
	logger.Info("Kafka is ready", "listen", c.Listen)
	<-ctx.Done()
	return nil
}
