package limit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/limit"
)

func wantRefused(t *testing.T, err error, text string) {
	t.Helper()
	details := status.Convert(err).Details()
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != text || len(details) != 1 {
		t.Fatalf("err = %v with %v, want %q", err, details, text)
	}
	if d, ok := details[0].(*gitalypb.LimitError); !ok || d.GetErrorMessage() != text || d.GetRetryAfter().AsDuration() != 0 {
		t.Errorf("detail = %v", details[0])
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rule{Running: 1, Queue: 1, Wait: time.Second})
		first, err := l.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.Acquire(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()
		waited := make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), "a")
			waited <- err
		}()
		synctest.Wait()
		_, err = l.Acquire(t.Context(), "a")
		wantRefused(t, err, "maximum queue size reached")
		wantRefused(t, <-waited, "maximum time in concurrency queue reached")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Acquire(ctx, "a"); err != context.Canceled { //nolint:errorlint // the very error
			t.Errorf("err = %v", err)
		}
		go func() {
			release, err := l.Acquire(t.Context(), "a")
			if err == nil {
				release()
			}
			waited <- err
		}()
		synctest.Wait()
		first()
		if err := <-waited; err != nil {
			t.Errorf("the next in the queue: %v", err)
		}
	})
}

// stream gives one message over and over.
type stream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as gRPC does
}

func (s stream) Context() context.Context { return s.ctx }
func (s stream) RecvMsg(m any) error {
	m.(*gitalypb.SSHReceivePackRequest).Repository = &gitalypb.Repository{RelativePath: "a"} //nolint:forcetypeassert // it is one
	return nil
}

func TestInterceptors(t *testing.T) {
	t.Parallel()
	const limited, free = "/gitaly.SSHService/SSHReceivePack", "/gitaly.SSHService/SSHUploadPackWithSidechannel"
	i := limit.Interceptors{limited: limit.New(limit.Rule{Running: 1})}
	req := &gitalypb.SSHReceivePackRequest{Repository: &gitalypb.Repository{RelativePath: "a"}}
	inner := func(method string, req any) error {
		_, err := i.Unary(t.Context(), req, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
		return err
	}
	for range 2 { // the slot is free again afterwards
		err := i.Stream(nil, stream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: limited}, func(_ any, s grpc.ServerStream) error {
			for range 2 { // only the first message counts
				if err := s.RecvMsg(&gitalypb.SSHReceivePackRequest{}); err != nil {
					return err
				}
			}
			wantRefused(t, inner(limited, req), "maximum queue size reached")
			if err := inner(free, req); err != nil {
				t.Error(err)
			}
			return inner(limited, &gitalypb.ServerInfoRequest{})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := inner(limited, req); err != nil {
		t.Error(err)
	}
}
