package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unsafe"
)

// maxFile bounds what is read of one file of /proc or of a cgroup.
const maxFile = 1 << 20

// reader reads small files into one buffer. What it returns is valid until the next call.
type reader struct{ buf []byte }

func (r *reader) read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if r.buf == nil {
		r.buf = make([]byte, 0, 16<<10)
	}
	r.buf = r.buf[:0]
	for {
		if len(r.buf) == cap(r.buf) {
			r.buf = append(r.buf, 0)[:len(r.buf)]
		}
		n, err := f.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if errors.Is(err, io.EOF) {
			return r.buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(r.buf) > maxFile {
			return nil, fmt.Errorf("cannot read %q: it is larger than %d bytes", name, maxFile)
		}
	}
}

// number reads a file that holds one number.
func (r *reader) number(name string) (float64, bool) {
	b, err := r.read(name)
	if err != nil {
		return 0, false
	}
	return parse(bytes.TrimSpace(b))
}

// parse reads a number; words such as "max" are none.
func parse(b []byte) (float64, bool) {
	if len(b) == 0 || (b[0] != '-' && (b[0] < '0' || b[0] > '9')) {
		return 0, false
	}
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64) // not kept
	return v, err == nil
}

// eachLine calls f with the fields of every line; the slice is reused.
func eachLine(b []byte, f func(fields [][]byte)) {
	var fields [][]byte
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		fields = fields[:0]
		for len(line) > 0 {
			start := 0
			for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
				start++
			}
			end := start
			for end < len(line) && line[end] != ' ' && line[end] != '\t' {
				end++
			}
			if end > start {
				fields = append(fields, line[start:end])
			}
			line = line[end:]
		}
		if len(fields) > 0 {
			f(fields)
		}
	}
}

// pairs reads a file of lines "name number".
func (r *reader) pairs(name string, f func(key string, v float64)) {
	b, err := r.read(name)
	if err != nil {
		return
	}
	eachLine(b, func(fields [][]byte) {
		if len(fields) == 2 {
			if v, ok := parse(fields[1]); ok {
				f(string(fields[0]), v)
			}
		}
	})
}
