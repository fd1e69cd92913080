package access

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// UnaryInterceptor asks callers of every gRPC method for one permission.
func (g *Guard) UnaryInterceptor(need Permission) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		id := anonymous()
		if g.cfg.HasAuth() {
			var err error
			if id, err = g.byMetadata(ctx); err != nil {
				g.denied[reasonOf(err)].Inc()
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
		}
		if !id.May(need) {
			g.denied["permission"].Inc()
			return nil, status.Error(codes.PermissionDenied, (&permissionError{id.Name, need}).Error())
		}
		return next(With(ctx, id), req)
	}
}

func (g *Guard) byMetadata(ctx context.Context) (Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, h := range md.Get("authorization") {
		if token, ok := bearer(h); ok {
			return g.byToken(token)
		}
	}
	return Identity{}, errNoToken
}
