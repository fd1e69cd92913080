package ingest

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/weirhq/weir/ingest/otlp"
	"github.com/weirhq/weir/store"
)

// partialSuccess is what an OTLP sender is told about items that were not stored.
type partialSuccess struct {
	rejected int64
	message  string
}

func (p *partialSuccess) add(list []store.Rejection) {
	var b strings.Builder
	b.WriteString(p.message)
	for _, r := range list {
		if r.Count == 0 {
			continue
		}
		p.rejected += int64(r.Count)
		if b.Len() > 2000 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%d because of %s (%s)", r.Count, r.Reason, cutTo(r.Example, 300))
	}
	p.message = b.String()
}

// otlpForm tells protobuf from JSON.
func otlpForm(r *http.Request) (isJSON bool, err error) {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && mt == "application/x-protobuf":
		return false, nil
	case err == nil && mt == "application/json":
		return true, nil
	default:
		return false, &refusal{
			http.StatusUnsupportedMediaType, "content_type",
			fmt.Sprintf("Content-Type %q is not supported: use application/x-protobuf or application/json", cutTo(r.Header.Get("Content-Type"), 100)), 0,
		}
	}
}

// readOTLP reads a body; JSON may be a fifth as large, because it unfolds into more memory.
func (in *Ingest) readOTLP(w http.ResponseWriter, r *http.Request) (b *body, isJSON bool, err error) {
	if isJSON, err = otlpForm(r); err != nil {
		return nil, isJSON, err
	}
	if b, err = in.bodies.read(w, r, "identity"); err != nil {
		return nil, isJSON, err
	}
	if limit := in.cfg.MaxBody / 5; isJSON && len(b.data) > limit {
		b.free()
		return nil, isJSON, tooLarge(int64(limit), limit)
	}
	return b, isJSON, nil
}

func (in *Ingest) traces(w http.ResponseWriter, r *http.Request) {
	d := in.doors.traces
	b, isJSON, err := in.readOTLP(w, r)
	if err != nil {
		in.finish(r, d.refuseOTLP(w, err, isJSON))
		return
	}
	defer b.free()
	var ps partialSuccess
	if isJSON {
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalJSON(b.data); err != nil {
			in.finish(r, d.refuseOTLP(w, badData("cannot decode traces: %v", err), isJSON))
			return
		}
		ps, err = in.putSpans(r.Context(), otlp.FromTraces(req.Traces()))
	} else {
		dec := in.spanDecoders.Get().(*otlp.SpanDecoder) //nolint:forcetypeassert // the pool holds nothing else
		defer in.putSpanDecoder(dec)
		if err := dec.Decode(b.data, in.cfg.MaxSpans); err != nil {
			in.finish(r, d.refuseOTLP(w, badData("%v", err), isJSON))
			return
		}
		ps, err = in.putSpans(r.Context(), dec.Out)
	}
	if err != nil {
		in.finish(r, d.refuseOTLP(w, err, isJSON))
		return
	}
	in.finish(r, nil)
	res := ptraceotlp.NewExportResponse()
	if ps.rejected > 0 {
		res.PartialSuccess().SetRejectedSpans(ps.rejected)
		res.PartialSuccess().SetErrorMessage(ps.message)
	}
	d.answerOTLP(w, isJSON, res)
}

// putSpans stores spans and keeps the books of the door.
func (in *Ingest) putSpans(ctx context.Context, s otlp.Spans) (partialSuccess, error) {
	d := in.doors.traces
	d.received.Add(s.Received)
	t := tenantOf(ctx)
	if err := in.rates.spans.take(t, s.Received); err != nil {
		d.drop("rate_limited", s.Received, "tenant "+string(t))
		return partialSuccess{}, err
	}
	if len(s.Spans) > 0 {
		start := time.Now()
		if err := in.engine.Spans().Append(ctx, t, s.Spans); err != nil {
			d.drop(refusalOf(err).kind, s.Received, err.Error())
			return partialSuccess{}, err
		}
		d.seconds.UpdateDuration(start)
		in.versions.hearSpans(t, s.Spans, start.UnixMilli())
		in.pairs.Observe(t, s.Spans)
	}
	d.stored.Add(len(s.Spans))
	var ps partialSuccess
	for _, r := range s.Rejected {
		d.drop(r.Reason, r.Count, r.Example)
	}
	ps.add(s.Rejected)
	return ps, nil
}

func (in *Ingest) putSpanDecoder(d *otlp.SpanDecoder) {
	d.Reset()
	if d.Cap() <= 200_000 {
		in.spanDecoders.Put(d)
	}
}

func (in *Ingest) otlpMetrics(w http.ResponseWriter, r *http.Request) {
	d := in.doors.metrics
	b, isJSON, err := in.readOTLP(w, r)
	if err != nil {
		in.finish(r, d.refuseOTLP(w, err, isJSON))
		return
	}
	defer b.free()
	req := pmetricotlp.NewExportRequest()
	if isJSON {
		err = req.UnmarshalJSON(b.data)
	} else if err = otlp.Weigh(b.data, in.cfg.MaxSamples); err == nil {
		err = req.UnmarshalProto(b.data)
	}
	if err != nil {
		in.finish(r, d.refuseOTLP(w, badData("cannot decode metrics: %v", err), isJSON))
		return
	}
	ps, err := in.putPoints(r.Context(), req)
	if err != nil {
		in.finish(r, d.refuseOTLP(w, err, isJSON))
		return
	}
	in.finish(r, nil)
	res := pmetricotlp.NewExportResponse()
	if ps.rejected > 0 {
		res.PartialSuccess().SetRejectedDataPoints(ps.rejected)
		res.PartialSuccess().SetErrorMessage(ps.message)
	}
	d.answerOTLP(w, isJSON, res)
}

type otlpAnswer interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func (d *door) answerOTLP(w http.ResponseWriter, isJSON bool, res otlpAnswer) {
	var b []byte
	var err error
	if isJSON {
		w.Header().Set("Content-Type", "application/json")
		b, err = res.MarshalJSON()
	} else {
		w.Header().Set("Content-Type", "application/x-protobuf")
		b, err = res.MarshalProto()
	}
	if err != nil { // the data is stored all the same
		d.log.Error("answer not encoded", "error", err)
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b)
	d.request(http.StatusOK)
}

// refuseOTLP answers with a google.rpc.Status in the form of the request, as OTLP asks for.
func (d *door) refuseOTLP(w http.ResponseWriter, err error, isJSON bool) *refusal {
	re := refusalOf(err)
	if re.code == http.StatusInternalServerError {
		// OTLP senders give up on 500 and try again on 503; what failed here may succeed later.
		re = &refusal{http.StatusServiceUnavailable, re.kind, re.msg, re.retry}
		d.log.Error("request failed", "error", err)
	}
	if re.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(re.retry.Round(time.Second).Seconds()))))
	}
	st := status.New(re.grpcCode(), re.msg).Proto()
	var body []byte
	if isJSON {
		w.Header().Set("Content-Type", "application/json")
		body, err = protojson.Marshal(st)
	} else {
		w.Header().Set("Content-Type", "application/x-protobuf")
		body, err = proto.Marshal(st)
	}
	if err != nil {
		d.log.Error("answer not encoded", "error", err)
	}
	w.WriteHeader(re.code)
	_, _ = w.Write(body)
	d.request(re.code)
	d.refused(re.kind)
	return re
}

func (e *refusal) grpcCode() codes.Code {
	switch {
	case e.code == http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case e.permanent():
		return codes.InvalidArgument
	default:
		return codes.Unavailable
	}
}
