package main

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/weirhq/weir/deploy/examples/order/ordertest"
)

func TestExample(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	ordertest.Run(t, srv.ClientURL(), source, consume)
}
