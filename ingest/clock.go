package ingest

import (
	"net/http"
	"strconv"
	"time"
)

// timed adds to every answer when the request came and when the answer went, so that a collector can tell how far its clock is
// from ours (docs/wire.md).
func timed(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(&timedWriter{ResponseWriter: w, came: time.Now().UnixMicro()}, r)
	})
}

type timedWriter struct {
	http.ResponseWriter
	came int64
	told bool
}

// Unwrap lets http.ResponseController find what it needs.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *timedWriter) WriteHeader(code int) {
	w.tell()
	w.ResponseWriter.WriteHeader(code)
}

func (w *timedWriter) Write(b []byte) (int, error) {
	w.tell()
	return w.ResponseWriter.Write(b)
}

func (w *timedWriter) tell() {
	if !w.told {
		w.told = true
		w.Header().Set("Weir-Time", strconv.FormatInt(w.came, 10)+","+strconv.FormatInt(time.Now().UnixMicro(), 10))
	}
}
