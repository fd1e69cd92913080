package promwrite

import (
	"fmt"
	"strings"
)

// Error says what is wrong with a body and where. Such a body stores nothing and never becomes right.
type Error struct {
	What   string // what cannot be decoded, and why
	Byte   int    // offset in the uncompressed body
	Series int    // index of the series, -1 outside of one
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cannot decode write request: ")
	if e.Series >= 0 {
		fmt.Fprintf(&b, "series %d, ", e.Series)
	}
	fmt.Fprintf(&b, "byte %d: %s", e.Byte, e.What)
	return b.String()
}
