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
