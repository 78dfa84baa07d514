package limit

import (
	"context"

	"google.golang.org/grpc"

	"gitsplit/services/gitaly/internal/method"
)

// Interceptors are the limiters by full method, "/gitaly.SSHService/SSHReceivePack".
type Interceptors map[string]*Limiter

// acquire waits for a turn at the request's target. Requests without one are not
// limited.
func (i Interceptors) acquire(ctx context.Context, rpc string, req any) (func(), error) {
	limiter, ok := i[rpc]
	target := method.Of(rpc).Repository(req).GetRelativePath()
	if !ok || target == "" {
		return func() {}, nil
	}
	return limiter.Acquire(ctx, target)
}

// Unary limits unary RPCs. It runs after authentication, so that a call that waits
// does not outlive its token.
func (i Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	release, err := i.acquire(ctx, info.FullMethod, req)
	if err != nil {
		return nil, err
	}
	defer release()
	return next(ctx, req)
}

// Stream limits streams once their first message is read, until they end.
func (i Interceptors) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if _, ok := i[info.FullMethod]; !ok {
		return next(srv, stream)
	}
	s := &limitedStream{ServerStream: stream, owner: i, method: info.FullMethod, release: func() {}}
	defer func() { s.release() }()
	return next(srv, s)
}

type limitedStream struct {
	grpc.ServerStream
	owner   Interceptors
	method  string
	seen    bool
	release func()
}

func (s *limitedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil || s.seen {
		return err
	}
	s.seen = true
	release, err := s.owner.acquire(s.Context(), s.method, m)
	if err != nil {
		return err
	}
	s.release = release
	return nil
}
