package housekeeping

import (
	"context"

	"google.golang.org/grpc"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
	"gitsplit/services/gitaly/internal/storage"
)

// Locator finds the place that a request names.
type Locator interface {
	Locate(repo *gitalypb.Repository) (*storage.Repo, error)
}

// Interceptors count the RPCs that have changed a repository. They run innermost, so
// that refused calls do not count.
type Interceptors struct {
	Scheduler *Scheduler
	Locator   Locator
}

// Unary counts unary RPCs.
func (i Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if m := method.Of(info.FullMethod); err == nil && m.Mutates() {
		i.wrote(m.Repository(req))
	}
	return resp, err
}

// Stream counts streams, whose first message names the repository.
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
	if err == nil {
		i.wrote(repo)
	}
	return err
}

func (i Interceptors) wrote(msg *gitalypb.Repository) {
	if repo, err := i.Locator.Locate(msg); err == nil {
		i.Scheduler.Wrote(repo)
	}
}
