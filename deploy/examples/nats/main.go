// Command nats is a stage that reads a JetStream stream and writes another, with audit counts.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/examples/order"
)

func main() {
	broker := flag.String("broker", nats.DefaultURL, "address of a server")
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

// connect makes a stream for each subject, named like it.
func connect(ctx context.Context, broker string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(broker)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	for _, name := range []string{order.Source, order.Target, order.Dead} {
		if err == nil {
			_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}})
		}
	}
	if err != nil {
		nc.Close()
	}
	return nc, js, err
}

// source puts out an order every ten milliseconds. It stamps each once; nobody after it does.
func source(ctx context.Context, broker string) error {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: "producer"})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	nc, js, err := connect(ctx, broker)
	if err != nil {
		return err
	}
	defer nc.Close()
	for i := 0; ctx.Err() == nil; i++ {
		r, body := order.New(i)
		if _, err := js.PublishMsg(ctx, message(order.Source, r, body)); err != nil {
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
	nc, js, err := connect(ctx, broker)
	if err != nil {
		return err
	}
	defer nc.Close()
	group, err := js.CreateOrUpdateConsumer(ctx, order.Source, jetstream.ConsumerConfig{Durable: order.Stage, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch, err := group.Fetch(100, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			if err := handle(ctx, c, js, m); err != nil {
				return err // not acknowledged: it comes again
			}
		}
	}
	return nil
}

func handle(ctx context.Context, c *client.Client, js jetstream.JetStream, m jetstream.Msg) error {
	r := client.FromHeaders(m.Headers().Get)
	if meta, err := m.Metadata(); err == nil && r.Time.IsZero() {
		r.Time = meta.Timestamp // somebody else wrote it: the broker's time is the origin
	}
	r.Bytes = len(m.Data())
	c.In(order.Source, order.Stage, r)
	body, err := order.Enrich(r, m.Data())
	to := order.Target
	if err != nil {
		if !order.Count(c, r, err) {
			return m.Ack()
		}
		to, body = order.Dead, m.Data()
	}
	if _, err := js.PublishMsg(ctx, message(to, r, body)); err != nil {
		return err
	}
	if to == order.Dead {
		c.DeadLettered(to, r)
	} else {
		c.Out(to, r)
	}
	return m.Ack()
}

func message(subject string, r client.Record, body []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = body
	for name, v := range r.Headers() {
		m.Header.Set(name, v)
	}
	return m
}
