package suspect

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"gitsplit/kit/durable"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
	"gitsplit/services/gitaly/internal/storage"
)

// Locator finds the place that a request names.
type Locator interface {
	Locate(repo *gitalypb.Repository) (*storage.Repo, error)
}

// Interceptors mark the repository of each RPC that fails because a sync did. They run
// inside of what hides errors from callers.
type Interceptors struct {
	Marks   *Marks
	Locator Locator
}

// Unary looks at the outcome of unary RPCs.
func (i Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	i.mark(ctx, method.Of(info.FullMethod).Repository(req), err)
	return resp, err
}

// Stream looks at the outcome of streams that may change a repository.
func (i Interceptors) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m := method.Of(info.FullMethod)
	if !m.Mutates() {
		return next(srv, stream)
	}
	var repo *gitalypb.Repository
	err := next(srv, method.First(stream, func(req any) error {
		repo = m.Repository(req)
		return nil
	}))
	i.mark(stream.Context(), repo, err)
	return err
}

func (i Interceptors) mark(ctx context.Context, msg *gitalypb.Repository, err error) {
	if !errors.Is(err, durable.ErrSync) {
		return
	}
	if repo, locateErr := i.Locator.Locate(msg); locateErr == nil {
		i.Marks.Mark(ctx, repo, err)
	}
}
