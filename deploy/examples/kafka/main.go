// Command kafka is a stage that reads a topic and writes another, with audit counts.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/examples/order"
)

func main() {
	broker := flag.String("broker", "127.0.0.1:9092", "address of a broker")
	produce := flag.Bool("produce", false, "put out orders instead of reading them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	run := consume
	if *produce {
		run = source
	}
	err := run(ctx, *broker)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		log.Fatal(err)
	}
}

// source puts out an order every ten milliseconds. It stamps each once; nobody after it does.
func source(ctx context.Context, broker string) error {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: "producer"})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	k, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.AllowAutoTopicCreation())
	if err != nil {
		return err
	}
	defer k.Close()
	for i := 0; ctx.Err() == nil; i++ {
		r, body := order.New(i)
		if err := k.ProduceSync(ctx, message(order.Source, r, body)).FirstErr(); err != nil {
			return err
		}
		c.Out(order.Source, r) // acknowledged
		<-time.After(10 * time.Millisecond)
	}
	return nil
}

func consume(ctx context.Context, broker string) error {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: order.Stage})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	k, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumerGroup(order.Stage), kgo.ConsumeTopics(order.Source), kgo.DisableAutoCommit(), kgo.AllowAutoTopicCreation())
	if err != nil {
		return err
	}
	defer k.Close()
	for ctx.Err() == nil {
		fetches := k.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, m := range fetches.Records() {
			if err := handle(ctx, c, k, m); err != nil {
				return err // not committed: it comes again
			}
		}
		if err := k.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
	}
	return nil
}

func handle(ctx context.Context, c *client.Client, k *kgo.Client, m *kgo.Record) error {
	r := client.FromHeaders(func(name string) string {
		for _, h := range m.Headers {
			if h.Key == name {
				return string(h.Value)
			}
		}
		return ""
	})
	if r.Time.IsZero() {
		r.Time = m.Timestamp // somebody else wrote it: the broker's time is the origin
	}
	r.Bytes = len(m.Value)
	c.In(order.Source, order.Stage, r)
	body, err := order.Enrich(r, m.Value)
	to := order.Target
	if err != nil {
		if !order.Count(c, r, err) {
			return nil
		}
		to, body = order.Dead, m.Value
	}
	if err := k.ProduceSync(ctx, message(to, r, body)).FirstErr(); err != nil {
		return err
	}
	if to == order.Dead {
		c.DeadLettered(to, r)
	} else {
		c.Out(to, r)
	}
	return nil
}

func message(topic string, r client.Record, body []byte) *kgo.Record {
	m := &kgo.Record{Topic: topic, Value: body}
	for name, v := range r.Headers() {
		m.Headers = append(m.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
	}
	return m
}
