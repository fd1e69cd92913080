// Package order is what the examples do with a record, whatever broker it came from.
//
// Bodies come from the example's own producer or from anybody; what is enriched goes back to the example.
package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/collector/client"
)

// Names of the example's pipeline.
const (
	Pipeline = "orders"
	Stage    = "enrich"
	Source   = "orders"
	Target   = "enriched"
	Dead     = "orders-dead"
)

// What becomes of an order that is not passed on.
var (
	ErrNotOurs    = errors.New("is no order")  // left out on purpose
	ErrTooOld     = errors.New("is too old")   // given up, with a reason
	ErrUnreadable = errors.New("is no record") // goes to the dead letters
)

// Order of the example.
type Order struct {
	Kind    string `json:"kind"`
	Item    string `json:"item"`
	Country string `json:"country"`
}

// New makes the i-th order of a producer and its body.
func New(i int) (client.Record, []byte) {
	o := Order{Kind: "order", Item: fmt.Sprint("item-", i%10)}
	if i%10 == 9 {
		o.Kind = "offer"
	}
	body, err := json.Marshal(o)
	if err != nil || i%50 == 49 {
		body = []byte("{")
	}
	r := client.Origin(fmt.Sprintf("%d-%d", time.Now().UnixNano(), i))
	r.Bytes = len(body)
	return r, body
}

// Enrich adds the country.
func Enrich(r client.Record, body []byte) ([]byte, error) {
	var o Order
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	switch {
	case o.Kind != "order":
		return nil, ErrNotOurs
	case !r.Time.IsZero() && time.Since(r.Time) > time.Hour:
		return nil, ErrTooOld
	}
	o.Country = "fr"
	return json.Marshal(o)
}

// Count says what became of a record that was not passed on; dead is told when it reached the dead letters.
func Count(c *client.Client, r client.Record, err error) (dead bool) {
	switch {
	case errors.Is(err, ErrNotOurs):
		c.Filtered(r)
	case errors.Is(err, ErrTooOld):
		c.Dropped("too old", r)
	default:
		return true
	}
	return false
}
