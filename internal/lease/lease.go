// Package lease is the form in which collectors ask the server which of them polls a broker: package collector sends a Request
// to POST /api/v1/broker-leases, package ingest gives the Answer. Both are JSON.
package lease

// Request asks for the lease of one broker, or to go on having it.
type Request struct {
	System  string `json:"system"`  // nats, kafka …
	Cluster string `json:"cluster"` // as configured
	Node    string `json:"node"`
	Epoch   int64  `json:"epoch"`  // start of the collector, Unix ms: another one on the same node is another holder
	TTL     int64  `json:"ttl_ms"` // the lease ends so long after the last request of its holder; 0 gives it back
	// Aside says that the broker does not answer this collector: any other may have the lease, and it is not given to this one.
	Aside bool `json:"aside,omitempty"`
}

// Answer says who has the lease now.
type Answer struct {
	Held  bool   `json:"held"`           // by the one who asks
	Node  string `json:"node,omitempty"` // of the holder; empty = nobody has it
	Epoch int64  `json:"epoch,omitempty"`
	// Fence grows with every change of the holder.
	Fence uint64 `json:"fence"`
	// Expires is when the lease ends unless the holder asks again, Unix ms by the server's clock.
	Expires int64 `json:"expires_ms,omitempty"`
}
