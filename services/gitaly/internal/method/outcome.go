package method

import (
	"context"

	"google.golang.org/grpc"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
)

// Locator finds the place that a request names.
type Locator interface {
	Locate(repo *gitalypb.Repository) (*storage.Repo, error)
}

// Outcomes are interceptors that show how RPCs on repositories have ended: every unary
// one, and the streams that may change a repository. They run inside of what hides
// errors from callers.
type Outcomes struct {
	Locator Locator
	// Wanted reports whether Ended is to see an RPC that ended so.
	Wanted func(m Method, err error) bool
	// Ended is called with the repository that the RPC named.
	Ended func(ctx context.Context, repo *storage.Repo, err error)
}

// Unary looks at the outcome of unary RPCs.
func (o Outcomes) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	m := Of(info.FullMethod)
	o.show(ctx, m, m.Repository(req), err)
	return resp, err
}

// Stream looks at the outcome of streams, whose first message names the repository.
func (o Outcomes) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m := Of(info.FullMethod)
	if !m.Mutates() {
		return next(srv, stream)
	}
	var repo *gitalypb.Repository
	err := next(srv, First(stream, func(req any) error {
		repo = m.Repository(req)
		return nil
	}))
	o.show(stream.Context(), m, repo, err)
	return err
}

func (o Outcomes) show(ctx context.Context, m Method, msg *gitalypb.Repository, err error) {
	if !o.Wanted(m, err) {
		return
	}
	if repo, locateErr := o.Locator.Locate(msg); locateErr == nil {
		o.Ended(ctx, repo, err)
	}
}
