package ingest

import (
	"context"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // senders of OTLP use it by default
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/weirhq/weir/ingest/otlp"
)

// maxGRPCMessage bounds one message after decompression. It is smaller than MaxBody, because pdata
// decodes it before anybody can count what is in it.
const maxGRPCMessage = 4 << 20

// ServerOptions bound what a gRPC server with RegisterGRPC takes.
func (in *Ingest) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(min(maxGRPCMessage, in.cfg.MaxBody)),
		grpc.MaxConcurrentStreams(100),
		grpc.ConnectionTimeout(in.cfg.ReadTimeout),
	}
}

// RegisterGRPC adds the OTLP trace and metric services. Authentication is an interceptor of the server.
func (in *Ingest) RegisterGRPC(s *grpc.Server) {
	ptraceotlp.RegisterGRPCServer(s, &traceService{in: in})
	pmetricotlp.RegisterGRPCServer(s, &metricService{in: in})
}

type traceService struct {
	ptraceotlp.UnimplementedGRPCServer
	in *Ingest
}

func (s *traceService) Export(ctx context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	res := ptraceotlp.NewExportResponse()
	ps, err := s.in.putSpans(ctx, otlp.FromTraces(req.Traces()))
	if err != nil {
		return res, s.in.doors.traces.grpcError(err)
	}
	if ps.rejected > 0 {
		res.PartialSuccess().SetRejectedSpans(ps.rejected)
		res.PartialSuccess().SetErrorMessage(ps.message)
	}
	return res, nil
}

type metricService struct {
	pmetricotlp.UnimplementedGRPCServer
	in *Ingest
}

func (s *metricService) Export(ctx context.Context, req pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	res := pmetricotlp.NewExportResponse()
	ps, err := s.in.putPoints(ctx, req)
	if err != nil {
		return res, s.in.doors.metrics.grpcError(err)
	}
	if ps.rejected > 0 {
		res.PartialSuccess().SetRejectedDataPoints(ps.rejected)
		res.PartialSuccess().SetErrorMessage(ps.message)
	}
	return res, nil
}

// grpcError tells the sender whether and when to come again.
func (d *door) grpcError(err error) error {
	re := refusalOf(err)
	d.refused(re.kind)
	st := status.New(re.grpcCode(), re.msg)
	if re.retry > 0 {
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(re.retry)}); err == nil {
			st = with
		}
	}
	return st.Err()
}
