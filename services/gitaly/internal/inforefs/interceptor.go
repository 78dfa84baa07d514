package inforefs

import (
	"context"

	"google.golang.org/grpc"

	"gitsplit/services/gitaly/internal/method"
)

// Interceptors begin a new generation for each RPC that may change a repository. They
// run behind what makes a call wait, and end before the caller has its answer.
type Interceptors struct {
	Cache   *Cache
	Locator method.Locator
}

// write begins a change of the repository that a request names; one that names none is
// refused by its handler.
func (i Interceptors) write(m method.Method, req any) (done func()) {
	repo, err := i.Locator.Locate(m.Repository(req))
	if err != nil {
		return func() {}
	}
	return i.Cache.Write(repo)
}

// Unary watches unary RPCs.
func (i Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if m := method.Of(info.FullMethod); m.Mutates() {
		defer i.write(m, req)()
	}
	return next(ctx, req)
}

// Stream watches streams, whose first message names the repository.
func (i Interceptors) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m := method.Of(info.FullMethod)
	if !m.Mutates() {
		return next(srv, stream)
	}
	done := func() {}
	defer func() { done() }()
	return next(srv, method.First(stream, func(req any) error {
		done = i.write(m, req)
		return nil
	}))
}
