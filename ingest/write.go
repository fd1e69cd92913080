package ingest

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/ingest/promwrite"
	"github.com/weirhq/weir/store"
)

const protoV2 = "io.prometheus.write.v2.Request"

// writeForm tells from Content-Type which of the two forms a body has.
func writeForm(contentType string) (v2 bool, err error) {
	if contentType == "" {
		return false, nil
	}
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil || mt != "application/x-protobuf" {
		return false, unsupported(contentType)
	}
	switch params["proto"] {
	case "", "prometheus.WriteRequest":
		return false, nil
	case protoV2:
		return true, nil
	default:
		return false, unsupported(contentType)
	}
}

func unsupported(contentType string) error {
	return &refusal{
		http.StatusUnsupportedMediaType, "content_type",
		fmt.Sprintf("Content-Type %q is not supported: use application/x-protobuf, with proto=%s for remote write 2.0", cutTo(contentType, 100), protoV2), 0,
	}
}

func (in *Ingest) write(w http.ResponseWriter, r *http.Request) {
	d := in.doors.write
	v2, err := writeForm(r.Header.Get("Content-Type"))
	if err != nil {
		in.finish(r, d.refuse(w, err))
		return
	}
	b, err := in.bodies.read(w, r, "snappy")
	if err != nil {
		in.finish(r, d.refuse(w, err))
		return
	}
	defer b.free()
	dec := in.decoders.Get().(*promwrite.Decoder) //nolint:forcetypeassert // the pool holds nothing else
	defer in.putDecoder(dec)
	if v2 {
		err = dec.V2(b.data, in.limits)
	} else {
		err = dec.V1(b.data, in.limits)
	}
	if err != nil {
		in.finish(r, d.refuse(w, badData("%s", err)))
		return
	}
	res, err := in.append(r, d, dec)
	if v2 {
		h := w.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(res.Samples))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(res.Histograms))
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(res.Exemplars))
	}
	if err != nil {
		in.finish(r, d.refuse(w, err))
		return
	}
	if len(res.Rejected) > 0 {
		in.finish(r, d.refuse(w, &refusal{http.StatusBadRequest, "partial", partial(res), 0}))
		return
	}
	w.WriteHeader(http.StatusNoContent)
	d.request(http.StatusNoContent)
	in.finish(r, nil)
}

// append stores what was decoded and keeps the books. The result counts rejections of the decoder too.
func (in *Ingest) append(r *http.Request, d *door, dec *promwrite.Decoder) (store.AppendResult, error) {
	d.received.Add(dec.Received)
	t := tenantOf(r.Context())
	if err := in.rates.samples.take(t, dec.Received); err != nil {
		d.drop("rate_limited", dec.Received, "tenant "+string(t))
		return store.AppendResult{}, err
	}
	in.metadata.Add(dec.Metadata)
	var res store.AppendResult
	if len(dec.Batch.Series) > 0 {
		var err error
		start := time.Now()
		res, err = in.engine.Metrics().Append(r.Context(), t, &dec.Batch)
		if err != nil {
			d.drop(refusalOf(err).kind, dec.Received, err.Error())
			return store.AppendResult{}, err
		}
		d.seconds.UpdateDuration(start)
	}
	in.exemplars.Add(res.Exemplars)
	in.exemplarsIn.Add(dec.Exemplars)
	res.Rejected = append(res.Rejected, dec.Rejected...)
	d.stored.Add(res.Samples + res.Histograms)
	for _, rej := range res.Rejected {
		d.drop(rej.Reason, rej.Count, rej.Example)
	}
	return res, nil
}

// partial is the sentence for a request of which only a part was stored.
func partial(res store.AppendResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d samples and %d histograms were stored; not stored:", res.Samples, res.Histograms)
	for i, r := range res.Rejected {
		if i == 10 {
			fmt.Fprintf(&b, " … and %d more reasons", len(res.Rejected)-i)
			break
		}
		fmt.Fprintf(&b, " %d because of %s (%s);", r.Count, r.Reason, cutTo(r.Example, 600))
	}
	return strings.TrimSuffix(b.String(), ";")
}

// putDecoder keeps a decoder for the next request, unless one request made it large.
func (in *Ingest) putDecoder(d *promwrite.Decoder) {
	d.Reset()
	if d.Size() <= keepBuffer {
		in.decoders.Put(d)
	}
}
