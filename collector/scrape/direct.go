package scrape

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"
)

// Bounds of what comes before the body of an answer.
const (
	maxAnswerHeader = 1 << 20
	maxInterim      = 5 // answers 1xx
)

// errElsewhere says that an answer needs the full HTTP client.
var errElsewhere = errors.New("answer needs the full client")

// direct asks one target over plain HTTP/1.1 on a connection that stays open. The full client hands each request to
// two goroutines and back, and waking threads cost more than reading the answer does.
type direct struct {
	dialer *net.Dialer
	addr   string // host:port
	conn   net.Conn
	asked  *http.Request // as it was asked last
	text   []byte        // the same in bytes
	stop   func() bool   // ends the watch over the context of the exchange under way
	size   int64         // bytes that may still be read of what comes before the body
}

// wire is what a request is written from and an answer is read through; it holds nothing between two scrapes.
type wire struct {
	request bytes.Buffer
	reader  *bufio.Reader
}

func newDirect(timeout time.Duration, host, port string) *direct {
	if port == "" {
		port = "80"
	}
	return &direct{dialer: &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}, addr: net.JoinHostPort(host, port)}
}

// Read reads from the connection, within the bound.
func (d *direct) Read(p []byte) (int, error) {
	if d.size <= 0 {
		return 0, fmt.Errorf("what comes before the body of the answer is longer than %d bytes", maxAnswerHeader)
	}
	n, err := d.conn.Read(p[:min(int64(len(p)), d.size)])
	d.size -= int64(n)
	return n, err
}

// get sends the request and returns the answer, whose body ends with ctx. Then done must be called.
func (d *direct) get(ctx context.Context, req *http.Request, w *wire) (resp *http.Response, err error) {
	if d.asked != req {
		w.request.Reset()
		if err := req.Write(&w.request); err != nil {
			return nil, err
		}
		d.asked, d.text = req, bytes.Clone(w.request.Bytes())
	}
	for {
		reused := d.conn != nil
		if !reused {
			if d.conn, err = d.dialer.DialContext(ctx, "tcp", d.addr); err != nil {
				return nil, err
			}
		}
		resp, err = d.exchange(ctx, req, w)
		if err == nil {
			return resp, nil
		}
		begun := w.reader != nil && w.reader.Buffered() > 0
		d.close()
		if errors.Is(err, os.ErrDeadlineExceeded) { // of the connection, which has it from ctx
			return nil, cmp.Or(ctx.Err(), context.DeadlineExceeded)
		}
		if !reused || begun || errors.Is(err, errElsewhere) {
			return nil, err
		}
		// The target had closed a connection that nobody used, as it may: ask again on a new one.
	}
}

func (d *direct) exchange(ctx context.Context, req *http.Request, w *wire) (*http.Response, error) {
	deadline, _ := ctx.Deadline()
	if err := d.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn := d.conn
	d.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if _, err := d.conn.Write(d.text); err != nil {
		return nil, err
	}
	if w.reader == nil {
		w.reader = bufio.NewReaderSize(nil, 4<<10)
	}
	w.reader.Reset(d)
	d.size = maxAnswerHeader
	for range maxInterim {
		resp, err := http.ReadResponse(w.reader, req)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("target answers %s to a plain request", resp.Status)
		case resp.StatusCode/100 == 1:
			continue
		case resp.StatusCode/100 == 3:
			return nil, errElsewhere
		}
		d.size = math.MaxInt64 // the body has a bound of its own
		return resp, nil
	}
	return nil, fmt.Errorf("target sends more than %d interim answers", maxInterim)
}

// done ends an exchange. The connection serves again only when the answer was read to its very end; what is left of
// it is never read, however long it may be.
func (d *direct) done(resp *http.Response, w *wire, read bool) {
	if read {
		var tail [1]byte
		n, err := resp.Body.Read(tail[:])
		read = n == 0 && errors.Is(err, io.EOF)
	}
	if !d.stop() || !read || resp.Close || w.reader.Buffered() > 0 {
		d.close()
	}
	w.reader.Reset(nil)
}

func (d *direct) close() {
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
	if d.conn != nil {
		_ = d.conn.Close()
		d.conn = nil
	}
}
