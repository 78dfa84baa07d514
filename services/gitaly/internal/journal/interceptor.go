package journal

import (
	"context"

	"google.golang.org/grpc"

	"gitsplit/services/gitaly/internal/method"
)

// Interceptors settle what a dead gitaly has left in a repository before it is served.
type Interceptors struct {
	Journal *Journal
	Locator method.Locator
}

// Unary sees to unary RPCs.
func (i Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	i.settle(ctx, info.FullMethod, req)
	return next(ctx, req)
}

// Stream sees to streams, whose first message names the repository.
func (i Interceptors) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if i.Journal.orphans.Load() == 0 {
		return next(srv, stream)
	}
	return next(srv, method.First(stream, func(req any) error {
		i.settle(stream.Context(), info.FullMethod, req)
		return nil
	}))
}

func (i Interceptors) settle(ctx context.Context, name string, req any) {
	if i.Journal.orphans.Load() == 0 {
		return
	}
	if repo, err := i.Locator.Locate(method.Of(name).Repository(req)); err == nil {
		i.Journal.Settle(ctx, repo.Storage.Name, repo.RelativePath)
	}
}
