// Command redis is a stage that reads a Redis stream as a group and writes another, with audit counts.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/examples/order"
)

func main() {
	broker := flag.String("broker", "127.0.0.1:6379", "address of a server")
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
func source(ctx context.Context, broker string) (err error) {
	c, err := client.New(client.Config{Pipeline: order.Pipeline, Stage: "producer"})
	if err != nil {
		return err
	}
	defer c.Start(ctx)()
	db := redis.NewClient(&redis.Options{Addr: broker})
	defer func() { err = errors.Join(err, db.Close()) }()
	for i := 0; ctx.Err() == nil; i++ {
		r, body := order.New(i)
		if err := add(ctx, db, order.Source, r, body); err != nil {
			return err
		}
		c.Out(order.Source, r) // it is in the stream
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
	db := redis.NewClient(&redis.Options{Addr: broker})
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.XGroupCreateMkStream(ctx, order.Source, order.Stage, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") { // it is there already
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		streams, err := db.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: order.Stage, Consumer: host, Streams: []string{order.Source, ">"}, Count: 100, Block: time.Second,
		}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range streams {
			for _, m := range s.Messages {
				if err := handle(ctx, c, db, m); err != nil {
					return err // not acknowledged: XAUTOCLAIM brings it again
				}
			}
		}
	}
	return nil
}

func handle(ctx context.Context, c *client.Client, db *redis.Client, m redis.XMessage) error {
	field := func(name string) string {
		s, ok := m.Values[name].(string)
		if !ok {
			return ""
		}
		return s
	}
	r := client.FromHeaders(field)
	if r.Time.IsZero() { // somebody else wrote it: an entry's id begins with its time
		ms, _, _ := strings.Cut(m.ID, "-")
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil {
			r.Time = time.UnixMilli(n)
		}
	}
	body := []byte(field("body"))
	r.Bytes = len(body)
	c.In(order.Source, order.Stage, r)
	out, err := order.Enrich(r, body)
	to := order.Target
	if err != nil {
		if !order.Count(c, r, err) {
			return db.XAck(ctx, order.Source, order.Stage, m.ID).Err()
		}
		to, out = order.Dead, body
	}
	if err := add(ctx, db, to, r, out); err != nil {
		return err
	}
	if to == order.Dead {
		c.DeadLettered(to, r)
	} else {
		c.Out(to, r)
	}
	return db.XAck(ctx, order.Source, order.Stage, m.ID).Err()
}

// add puts the body into a field of its own, beside the headers.
func add(ctx context.Context, db *redis.Client, stream string, r client.Record, body []byte) error {
	values := map[string]any{"body": body}
	for name, v := range r.Headers() {
		values[name] = v
	}
	return db.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: values}).Err()
}
