package spool

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/weirhq/weir/collector/signal"
)

// Output compresses requests and appends them: the spool as the collector's receivers see it (signal.Output).
type Output struct {
	spool *Spool
	zstd  *zstd.Encoder
	bufs  sync.Pool // *[]byte
	gzips sync.Pool // *gzip.Writer
}

// NewOutput returns the way into s, with the compression of its Config.
func NewOutput(s *Spool) (*Output, error) {
	o := &Output{spool: s}
	o.bufs.New = func() any { return new([]byte) }
	o.gzips.New = func() any { return gzip.NewWriter(nil) }
	if s.cfg.Compression == "zstd" {
		var err error
		// One encoder with a small window: a node's batches are small, and idle memory counts.
		o.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<18))
		if err != nil {
			return nil, fmt.Errorf("cannot make zstd encoder: %w", err)
		}
	}
	return o, nil
}

// Append compresses body and puts it on disk. Nothing of body is kept.
func (o *Output) Append(ctx context.Context, k signal.Kind, items int, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(body) > o.spool.cfg.MaxBodyBytes {
		return fmt.Errorf("cannot spool a body of %d bytes: %w: send smaller batches or raise max_body_bytes %d", len(body), ErrTooLarge, o.spool.cfg.MaxBodyBytes)
	}
	buf := o.bufs.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 1<<20 { // a rare giant is not kept
			o.bufs.Put(buf)
		}
	}()
	e, err := o.compress(buf, k, body)
	if err != nil {
		return err
	}
	_, err = o.spool.Append(k, e, items, *buf)
	return err
}

func (o *Output) compress(dst *[]byte, k signal.Kind, body []byte) (Encoding, error) {
	if o.zstd != nil {
		*dst = o.zstd.EncodeAll(body, (*dst)[:0])
		return Zstd, nil
	}
	if k == signal.Samples {
		*dst = snappy.Encode((*dst)[:cap(*dst)], body)
		return Snappy, nil
	}
	b := bytes.NewBuffer((*dst)[:0])
	w := o.gzips.Get().(*gzip.Writer)
	defer o.gzips.Put(w)
	w.Reset(b)
	if _, err := w.Write(body); err != nil {
		return 0, fmt.Errorf("cannot compress %d bytes: %w", len(body), err)
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("cannot compress %d bytes: %w", len(body), err)
	}
	*dst = b.Bytes()
	return Gzip, nil
}
