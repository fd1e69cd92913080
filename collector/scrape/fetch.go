package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

const accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// errTooLarge says that an answer is beyond body_size_limit.
var errTooLarge = errors.New("answer is too large")

// fetch asks the target and reads its answer into buf. om tells whether it is OpenMetrics.
func (t *target) fetch(ctx context.Context, buf *buffers) (om bool, err error) {
	req, err := t.request() //nolint:contextcheck // it outlives the scrape; the context comes with its use
	if err != nil {
		return false, err
	}
	if t.direct != nil {
		resp, err := t.direct.get(ctx, req, &buf.wire) //nolint:bodyclose // done closes what is not to be read on
		if err == nil {
			om, err = t.take(resp, buf)
			t.direct.done(resp, &buf.wire, err == nil || resp.StatusCode != http.StatusOK)
			return om, err
		}
		if !errors.Is(err, errElsewhere) {
			return false, fmt.Errorf("cannot get %q: %w", t.url, err)
		}
		t.direct = nil // redirects are rare, and hold for the next scrape too
	}
	resp, err := t.client.Do(req.WithContext(ctx))
	if err != nil {
		return false, err // names method and address already
	}
	defer resp.Body.Close()
	return t.take(resp, buf)
}

// request is what the target is asked. It is made anew where a file holds a secret, since that may change.
func (t *target) request() (*http.Request, error) {
	if t.asked != nil {
		return t.asked, nil
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, t.url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %q: %w", t.url, err)
	}
	req.Header = http.Header{
		"Accept": {accept}, "Accept-Encoding": {"identity"}, "User-Agent": {"weir-collector"},
		"X-Prometheus-Scrape-Timeout-Seconds": {strconv.FormatFloat(t.cfg.Timeout.Seconds(), 'f', -1, 64)},
	}
	if t.gzip {
		req.Header["Accept-Encoding"] = []string{"gzip"}
	}
	if err := t.authorize(req); err != nil {
		return nil, err
	}
	if t.cfg.BearerTokenFile == "" && t.cfg.PasswordFile == "" {
		t.asked = req
	}
	return req, nil
}

// take reads an answer into buf.
func (t *target) take(resp *http.Response, buf *buffers) (om bool, err error) {
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection may be used again
		return false, fmt.Errorf("cannot scrape %q: it answers %s", t.url, resp.Status)
	}
	om, err = format(resp.Header.Get("Content-Type"))
	if err != nil {
		return false, fmt.Errorf("cannot scrape %q: %w", t.url, err)
	}
	body := io.Reader(resp.Body)
	size := resp.ContentLength
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip":
		if buf.gzip == nil {
			buf.gzip = new(gzip.Reader)
		}
		if err := buf.gzip.Reset(resp.Body); err != nil {
			return false, fmt.Errorf("cannot uncompress the answer of %q: %w", t.url, err)
		}
		body, size = buf.gzip, -1
	default:
		return false, fmt.Errorf("cannot read the answer of %q: its content encoding is %q; serve gzip or none", t.url, enc)
	}
	if err := buf.read(body, size, t.cfg.BodySizeLimit); err != nil {
		return false, fmt.Errorf("cannot read the answer of %q (body_size_limit %d): %w", t.url, t.cfg.BodySizeLimit, err)
	}
	return om, nil
}

// format reads a content type.
func format(contentType string) (om bool, err error) {
	if contentType == "" {
		return false, nil
	}
	m, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false, fmt.Errorf("cannot read its content type %q: %w", contentType, err)
	}
	switch m {
	case "application/openmetrics-text":
		return true, nil
	case "text/plain":
		return false, nil
	}
	return false, fmt.Errorf("its content type is %q; serve text/plain or application/openmetrics-text", contentType)
}

func (t *target) authorize(req *http.Request) error {
	switch {
	case t.cfg.BearerTokenFile != "":
		b, err := os.ReadFile(t.cfg.BearerTokenFile)
		if err != nil {
			return fmt.Errorf("cannot read bearer_token_file %q: %w", t.cfg.BearerTokenFile, err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(b)))
	case t.cfg.Username != "":
		var password []byte
		if t.cfg.PasswordFile != "" {
			var err error
			if password, err = os.ReadFile(t.cfg.PasswordFile); err != nil {
				return fmt.Errorf("cannot read password_file %q: %w", t.cfg.PasswordFile, err)
			}
		}
		req.SetBasicAuth(t.cfg.Username, strings.TrimSpace(string(password)))
	}
	return nil
}

// read reads all of r, at most limit bytes. size is the expected size, or negative.
func (b *buffers) read(r io.Reader, size, limit int64) error {
	if size > limit {
		return fmt.Errorf("%w: %d bytes", errTooLarge, size)
	}
	b.body = b.body[:0]
	if want := int(size) + 1; size >= 0 && cap(b.body) < want {
		b.body = make([]byte, 0, want+want/8) // the next answer is hardly ever of the same size
	}
	for {
		if len(b.body) == cap(b.body) {
			b.body = append(b.body, 0)[:len(b.body)]
		}
		n, err := r.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		if int64(len(b.body)) > limit {
			return fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
