package pairs

import (
	"math"
	"strconv"
	"strings"
	"unsafe"

	"github.com/weirhq/weir/internal/messaging"
	"github.com/weirhq/weir/store"
)

// fact is what one span says that matters here. Strings belong to the request.
type fact struct {
	sp   *store.Span
	role messaging.Role
	call bool // a client span of a stage that processes messages

	system, dest, group, partition, id string
	pipeline, stage, instance          string
	offset                             int64
	hasOffset, failed, biased          bool
	batch                              int64
	ts                                 int64 // origin of the message, Unix milliseconds; 0 = not told
	th                                 uint64
	thKnown                            bool

	// of a call
	kind, op, peer string
}

// reader takes facts from spans. Spans of one resource follow one another, so what the resource says is kept.
type factReader struct {
	res                       *store.Attr // first attribute of the resource that is known
	n                         int
	service                   *byte
	pipeline, stage, instance string
	biased, unsampled         bool
	works                     bool // this service processes messages
}

// read fills f; ok is false for a span that says nothing here. consumers are the services known to process messages.
func (r *factReader) read(sp *store.Span, consumers map[string]struct{}, f *fact) (ok bool) {
	switch sp.Kind {
	case store.KindProducer, store.KindConsumer, store.KindClient:
	default:
		return false
	}
	r.resource(sp, consumers)
	*f = fact{sp: sp}
	var opType, op, opName, groupV1, sub, dbSystem, method, rpc, dbOp string
	messagingSpan, temporary := false, false
	for i := range sp.Attrs {
		a := &sp.Attrs[i]
		if len(a.Key) < 6 {
			continue
		}
		switch a.Key[0] {
		case 'm':
			if len(a.Key) < 11 || a.Key[:10] != "messaging." {
				continue
			}
			messagingSpan = true
			switch a.Key {
			case messaging.OperationType:
				opType = a.Str
			case messaging.Operation:
				op = a.Str
			case messaging.OperationName:
				opName = a.Str
			case messaging.System:
				f.system = a.Str
			case messaging.Destination:
				f.dest = a.Str
			case messaging.DestinationV1:
				if f.dest == "" {
					f.dest = a.Str
				}
			case messaging.Temporary, messaging.Anonymous:
				temporary = temporary || a.Num == 1
			case messaging.Group, messaging.GroupKafka:
				f.group = a.Str
			case messaging.GroupV1:
				groupV1 = a.Str
			case messaging.Subscription:
				sub = a.Str
			case messaging.Partition, messaging.PartitionV1, messaging.PartitionV0:
				f.partition = text(a)
			case messaging.Offset, messaging.OffsetV1:
				f.offset, f.hasOffset = number(a)
			case messaging.MessageID, messaging.MessageIDV1:
				f.id = a.Str
			case messaging.BatchCount:
				f.batch, _ = number(a)
			}
		case 'w':
			switch a.Key {
			case messaging.Pipeline:
				f.pipeline = a.Str
			case messaging.Stage:
				f.stage = a.Str
			case messaging.Time:
				if n, ok := number(a); ok {
					f.ts = messaging.SaneTime(n)
				} else {
					f.ts = messaging.ParseTime(a.Str)
				}
			}
		case 't', 'd', 'h', 'r', 's', 'p', 'n', 'u':
			if !messagingSpan && sp.Kind == store.KindClient && r.works {
				switch a.Key {
				case "db.system.name", "db.system":
					dbSystem = a.Str
				case "db.operation.name", "db.operation":
					dbOp = a.Str
				case "http.request.method", "http.method":
					method = a.Str
				case "rpc.method":
					rpc = a.Str
				case "rpc.service":
					f.op = a.Str
				case "server.address", "net.peer.name", "peer.service", "net.sock.peer.name":
					if f.peer == "" {
						f.peer = a.Str
					}
				}
			}
			f.biased = f.biased || tailSampled(a.Key)
		}
	}
	f.biased = f.biased || r.biased
	if messagingSpan || sp.Kind != store.KindClient {
		f.role = messaging.RoleOf(uint8(sp.Kind), opType, op, opName)
	}
	if f.role == messaging.None {
		return !messagingSpan && r.works && r.call(f, dbSystem, dbOp, method, rpc)
	}
	if f.group == "" {
		f.group = groupV1
		if f.group == "" {
			f.group = sub
		}
	}
	if temporary { // names of temporary queues are without end
		f.dest, f.partition = "(temporary)", ""
	}
	if f.pipeline == "" {
		f.pipeline = r.pipeline
	}
	if f.stage == "" {
		f.stage = r.stage
	}
	if f.stage == "" {
		f.stage = sp.Service
	}
	f.instance = r.instance
	f.failed = sp.Status == store.StatusError
	if f.th, f.thKnown = messaging.Threshold(sp.TraceState); !f.thKnown && r.unsampled {
		f.thKnown = true
	}
	return f.dest != "" && len(f.dest) <= maxName && len(f.group) <= maxName && len(f.stage) <= maxName && len(f.pipeline) <= maxName && len(f.partition) <= maxName
}

// call tells whether a client span is something a stage may wait for.
func (r *factReader) call(f *fact, dbSystem, dbOp, method, rpc string) bool {
	switch {
	case dbSystem != "":
		f.kind, f.op = dbSystem, dbOp
	case rpc != "":
		f.kind = "rpc"
		if f.op == "" {
			f.op = rpc
		}
	case method != "":
		f.kind, f.op = "http", method
	default:
		return false
	}
	f.call = true
	return true
}

func (r *factReader) resource(sp *store.Span, consumers map[string]struct{}) {
	first := unsafe.SliceData(sp.Resource)
	service := unsafe.StringData(sp.Service)
	if first == r.res && len(sp.Resource) == r.n && service == r.service && service != nil {
		return
	}
	*r = factReader{res: first, n: len(sp.Resource), service: service}
	_, r.works = consumers[sp.Service]
	for i := range sp.Resource {
		a := &sp.Resource[i]
		switch a.Key {
		case messaging.Pipeline:
			r.pipeline = a.Str
		case messaging.Stage:
			r.stage = a.Str
		case messaging.Sampling:
			r.biased, r.unsampled = a.Str == "tail", a.Str == "none"
		case "service.instance.id":
			r.instance = a.Str
		}
	}
	if r.instance == "" {
		if r.instance = sp.Container; r.instance == "" {
			r.instance = sp.Node
		}
	}
}

// tailSampled knows the marks that samplers of whole traces leave.
func tailSampled(key string) bool {
	switch key[0] {
	case 't':
		return strings.HasPrefix(key, "tailsampling.")
	case 'r', 's', 'p', 'd', 'h', 'n', 'u':
		return key == "refinery.reason" || key == "sampling.rule"
	}
	return false
}

func text(a *store.Attr) string {
	if a.Kind == store.AttrInt {
		return strconv.FormatInt(int64(a.Num), 10) // does not allocate below 100
	}
	return a.Str
}

func number(a *store.Attr) (int64, bool) {
	switch a.Kind {
	case store.AttrInt:
		return int64(a.Num), true
	case store.AttrFloat:
		f := math.Float64frombits(a.Num)
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	case store.AttrString:
		n, neg := int64(0), false
		if a.Str == "" || len(a.Str) > 18 {
			return 0, false
		}
		for i := range len(a.Str) {
			c := a.Str[i]
			if i == 0 && c == '-' && len(a.Str) > 1 {
				neg = true
				continue
			}
			if c < '0' || c > '9' {
				return 0, false
			}
			n = 10*n + int64(c-'0')
		}
		if neg {
			n = -n
		}
		return n, true
	case store.AttrBool, store.AttrJSON:
	}
	return 0, false
}
