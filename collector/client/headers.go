package client

import (
	"strconv"
	"time"
)

// Headers in which a record carries its origin from stage to stage. They are set once, where the record comes into being, and
// copied ever after.
const (
	HeaderTime = "weir-ts" // Unix milliseconds
	HeaderID   = "weir-id"
)

// Origin makes the record of a message that comes into being now.
func Origin(id string) Record { return Record{ID: id, Time: time.Now()} }

// Headers are what to send along with the record.
func (r Record) Headers() map[string]string {
	h := map[string]string{}
	if r.ID != "" {
		h[HeaderID] = r.ID
	}
	if !r.Time.IsZero() {
		h[HeaderTime] = strconv.FormatInt(r.Time.UnixMilli(), 10)
	}
	return h
}

// FromHeaders reads the record from the headers of a message; get returns "" for a header that is not there. What is missing or
// makes no sense stays empty: set ID and Time from what the broker knows (its own id, its timestamp).
func FromHeaders(get func(name string) string) Record {
	r := Record{ID: get(HeaderID)}
	if ms, err := strconv.ParseInt(get(HeaderTime), 10, 64); err == nil && ms > 0 && ms < 1<<53 {
		r.Time = time.UnixMilli(ms)
	}
	return r
}
