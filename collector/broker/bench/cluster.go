//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// records each partition holds; groups commit between the first and the last of them.
const records = 20

// serve runs a cluster until in ends. Every second a tenth of the groups commits on all partitions.
func serve(s scenario, in io.Reader, out io.Writer) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(1_000_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	for i := range s.Topics {
		if err := c.CreateTopic(topic(i), int32(s.Partitions), map[string]string{"retention.ms": "86400000"}); err != nil {
			return err
		}
		var rs []*kgo.Record
		for p := range s.Partitions {
			for n := range records {
				rs = append(rs, &kgo.Record{Topic: topic(i), Partition: int32(p), Value: []byte("a record"), Timestamp: time.Now().Add(time.Duration(n-records) * time.Second)})
			}
		}
		if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			return err
		}
	}
	adm := kadm.NewClient(cl)
	commit := func(g, round int) error {
		os := kadm.Offsets{}
		for i := range s.Topics {
			for p := range s.Partitions {
				os.AddOffset(topic(i), int32(p), int64(1+(g+i+p+round)%records), -1)
			}
		}
		return adm.CommitAllOffsets(ctx, fmt.Sprintf("group-of-consumers-%d", g), os)
	}
	for g := range s.Groups {
		if err := commit(g, 0); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, strings.Join(c.ListenAddrs(), ",")); err != nil {
		return err
	}
	done := ended(in)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		for g := round % 10; g < s.Groups; g += 10 {
			if err := commit(g, round); err != nil {
				return err
			}
		}
	}
}

func topic(i int) string { return fmt.Sprintf("a-topic-of-orders-%d", i) }
