package otlp

import (
	"fmt"

	"github.com/weirhq/weir/ingest/pbuf"
)

// Weigh refuses metric requests that would unfold into much more memory than their bytes: pdata makes
// a large object of a message of two bytes. It counts messages in the nesting
// resource_metrics → scope_metrics → metrics → data → points → attributes and buckets.
func Weigh(body []byte, maxMessages int) error {
	n := 0
	r := pbuf.Of(body)
	return weigh(&r, 0, maxMessages, &n)
}

// weighDepth reaches the points and what is directly in them.
const weighDepth = 6

func weigh(r *pbuf.Reader, depth, limit int, n *int) error {
	for {
		ok, err := r.Next()
		if err != nil {
			return fmt.Errorf("cannot decode metrics: byte %d: %w", r.Pos, err)
		}
		if !ok {
			return nil
		}
		if r.Wire != pbuf.WireBytes {
			continue
		}
		if *n++; *n > limit {
			return fmt.Errorf("cannot decode metrics: more than %d points, attributes and the like: send smaller requests", limit)
		}
		if depth < weighDepth && nested(depth, r.Field) {
			s := r.Sub()
			if err := weigh(&s, depth+1, limit, n); err != nil {
				return err
			}
		}
	}
}

// nested tells which fields hold the messages of the next level.
func nested(depth, field int) bool {
	switch depth {
	case 0: // request: resource_metrics
		return field == 1
	case 1: // resource_metrics: resource, scope_metrics
		return field == 1 || field == 2
	case 2: // scope_metrics: scope, metrics; resource: attributes
		return field == 1 || field == 2
	case 3: // metric: gauge, sum, histogram, exponential_histogram, summary, metadata
		return field >= 5
	case 4: // data: points
		return field == 1
	default:
		return false
	}
}
