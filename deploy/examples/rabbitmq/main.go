// Command rabbitmq is a stage that reads a queue and writes another, with publisher confirms and audit counts.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/examples/order"
)

func main() {
	broker := flag.String("broker", "amqp://guest:guest@127.0.0.1:5672/", "address of a server")
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

// connect declares the queues and asks for confirms: without them nobody knows what has arrived.
func connect(broker string) (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.Dial(broker)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	for _, name := range []string{order.Source, order.Target, order.Dead} {
		if err == nil {
			_, err = ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, ch, nil
}

// source puts out an order every ten milliseconds. It stamps each once; nobody after it does.
func source(ctx context.Context, broker string) (err error) {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: "producer"})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	conn, ch, err := connect(broker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for i := 0; ctx.Err() == nil; i++ {
		r, body := order.New(i)
		if err := publish(ctx, ch, order.Source, r, body); err != nil {
			return err
		}
		c.Out(order.Source, r) // confirmed
		<-time.After(10 * time.Millisecond)
	}
	return nil
}

func consume(ctx context.Context, broker string) (err error) {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: order.Stage})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	conn, ch, err := connect(broker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := ch.Qos(100, 0, false); err != nil {
		return err
	}
	messages, err := ch.ConsumeWithContext(ctx, order.Source, order.Stage, false, false, false, false, nil)
	if err != nil {
		return err
	}
	for m := range messages {
		if err := handle(ctx, c, ch, &m); err != nil {
			return err // not acknowledged: it comes again
		}
	}
	return nil
}

func handle(ctx context.Context, c *client.Client, ch *amqp.Channel, m *amqp.Delivery) error {
	r := client.FromHeaders(func(name string) string {
		s, ok := m.Headers[name].(string)
		if !ok {
			return ""
		}
		return s
	})
	if r.ID == "" {
		r.ID = m.MessageId
	}
	if r.Time.IsZero() {
		r.Time = m.Timestamp // to the second, where the producer sets it
	}
	r.Bytes = len(m.Body)
	// A queue is read by whoever reads it: it is its own group.
	c.In(order.Source, order.Source, r)
	body, err := order.Enrich(r, m.Body)
	to := order.Target
	if err != nil {
		if !order.Count(c, r, err) {
			return m.Ack(false)
		}
		to, body = order.Dead, m.Body
	}
	if err := publish(ctx, ch, to, r, body); err != nil {
		return err
	}
	if to == order.Dead {
		c.DeadLettered(to, r)
	} else {
		c.Out(to, r)
	}
	return m.Ack(false)
}

var errNotConfirmed = errors.New("the broker refused a message: look at its limits")

// publish returns when the broker has confirmed the message.
func publish(ctx context.Context, ch *amqp.Channel, queue string, r client.Record, body []byte) error {
	headers := amqp.Table{}
	for name, v := range r.Headers() {
		headers[name] = v
	}
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, amqp.Publishing{
		Headers: headers, MessageId: r.ID, Timestamp: r.Time, DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: body,
	})
	if err != nil {
		return err
	}
	ok, err := confirm.WaitContext(ctx)
	if err == nil && !ok {
		err = errNotConfirmed
	}
	return err
}
