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
	s := &firstMessage{ServerStream: stream, method: m}
	err := next(srv, s)
	if err == nil {
		i.wrote(s.repo)
	}
	return err
}

func (i Interceptors) wrote(msg *gitalypb.Repository) {
	if repo, err := i.Locator.Locate(msg); err == nil {
		i.Scheduler.Wrote(repo)
	}
}

// firstMessage remembers the repository of a stream's first message.
type firstMessage struct {
	grpc.ServerStream
	method method.Method
	seen   bool
	repo   *gitalypb.Repository
}

func (s *firstMessage) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil && !s.seen {
		s.seen, s.repo = true, s.method.Repository(m)
	}
	return err
}
