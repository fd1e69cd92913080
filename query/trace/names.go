package trace

import (
	"math"
	"strconv"

	"github.com/weirhq/weir/store"
)

// text is the value of an attribute as it is shown and searched.
func text(a *store.Attr) string {
	switch a.Kind {
	case store.AttrInt:
		return strconv.FormatInt(int64(a.Num), 10)
	case store.AttrFloat:
		return strconv.FormatFloat(math.Float64frombits(a.Num), 'g', -1, 64)
	case store.AttrBool:
		return strconv.FormatBool(a.Num != 0)
	case store.AttrString, store.AttrJSON:
	}
	return a.Str
}

func kindName(k store.SpanKind) string {
	switch k {
	case store.KindInternal:
		return "internal"
	case store.KindServer:
		return "server"
	case store.KindClient:
		return "client"
	case store.KindProducer:
		return "producer"
	case store.KindConsumer:
		return "consumer"
	case store.KindUnspecified:
	}
	return "unspecified"
}

func statusName(s store.SpanStatus) string {
	switch s {
	case store.StatusOK:
		return "ok"
	case store.StatusError:
		return "error"
	case store.StatusUnset:
	}
	return "unset"
}
