package main

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weirhq/weir/deploy/examples/order"
	"github.com/weirhq/weir/deploy/examples/order/ordertest"
)

func TestExample(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, order.Source, order.Target, order.Dead))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ordertest.Run(t, cluster.ListenAddrs()[0], source, consume)
}
