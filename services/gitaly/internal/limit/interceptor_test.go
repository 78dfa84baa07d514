package limit_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/limit"
)

const (
	push  = "/gitaly.SSHService/SSHReceivePack"
	fetch = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
	read  = "/gitaly.RefService/RefExists"
	write = "/gitaly.RepositoryService/WriteRef"
	tidy  = "/gitaly.RepositoryService/OptimizeRepository"
)

// stream gives one message over and over.
type stream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as gRPC does
}

func (s stream) Context() context.Context { return s.ctx }
func (s stream) RecvMsg(m any) error {
	m.(*gitalypb.SSHReceivePackRequest).Repository = &gitalypb.Repository{StorageName: "s", RelativePath: "a"} //nolint:forcetypeassert // it is one
	return nil
}

// caller makes calls through one set of limits.
type caller struct {
	*limit.Interceptors
	t *testing.T
}

// unary makes a call; inside runs while it has its turn.
func (c caller) unary(ctx context.Context, rpc string, req any, inside func()) error {
	_, err := c.Unary(ctx, req, &grpc.UnaryServerInfo{FullMethod: rpc}, func(context.Context, any) (any, error) {
		inside()
		return nil, nil
	})
	return err
}

func (c caller) mustUnary(ctx context.Context, rpc string, req any, inside func()) {
	c.t.Helper()
	if err := c.unary(ctx, rpc, req, inside); err != nil {
		c.t.Errorf("%s: %v", rpc, err)
	}
}

func nothing() {}

func one() *limit.Limiter { return limit.New(limit.Rule{Running: 1}) }

func TestInterceptors_kinds(t *testing.T) {
	t.Parallel()
	bounds := func() limit.Bounds { return limit.Bounds{Repository: one()} }
	c := caller{limit.NewInterceptors(limit.Options{
		Reads: bounds(), Writes: bounds(), Downloads: bounds(), Uploads: bounds(), Observer: &record{},
	}), t}
	ctx, repo := t.Context(), &gitalypb.Repository{StorageName: "s", RelativePath: "a"}
	side := metadata.NewIncomingContext(ctx, metadata.Pairs("gitaly-sidechannel-id", "0"))
	reads, writes := &gitalypb.RefExistsRequest{Repository: repo}, &gitalypb.WriteRefRequest{Repository: repo}
	uploads := func(inside func()) error {
		return c.Stream(nil, stream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: push}, func(_ any, s grpc.ServerStream) error {
			for range 2 { // only the first message counts
				if err := s.RecvMsg(&gitalypb.SSHReceivePackRequest{}); err != nil {
					return err
				}
			}
			inside()
			return nil
		})
	}
	for range 2 { // the turns are free again afterwards
		// One of each kind, each while the one before has its turn.
		err := uploads(func() {
			c.mustUnary(ctx, write, writes, func() {
				c.mustUnary(ctx, read, reads, func() {
					c.mustUnary(side, fetch, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repo}, func() {
						wantRefused(t, uploads(nothing), "maximum queue size reached")
						wantRefused(t, c.unary(ctx, write, writes, nothing), "maximum queue size reached")
						wantRefused(t, c.unary(ctx, read, reads, nothing), "maximum queue size reached")
						same := &gitalypb.RefExistsRequest{Repository: &gitalypb.Repository{StorageName: "s", RelativePath: "./a/"}}
						wantRefused(t, c.unary(ctx, read, same, nothing), "maximum queue size reached")
						c.mustUnary(ctx, tidy, &gitalypb.OptimizeRepositoryRequest{Repository: repo}, nothing)
						c.mustUnary(ctx, read, &gitalypb.RefExistsRequest{Repository: &gitalypb.Repository{StorageName: "s", RelativePath: "b"}}, nothing)
						c.mustUnary(ctx, read, &gitalypb.RefExistsRequest{}, nothing)
						c.mustUnary(ctx, "/gitaly.ServerService/ServerInfo", &gitalypb.ServerInfoRequest{}, nothing)
					})
				})
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestInterceptors_configured: an RPC with a limit of its own has that for the
// repository, and still the server's.
func TestInterceptors_configured(t *testing.T) {
	t.Parallel()
	two := limit.New(limit.Rule{Running: 2})
	seen := &record{}
	c := caller{limit.NewInterceptors(limit.Options{
		RPCs:  map[string]limit.Split{read: {All: two, Unauthenticated: one()}},
		Reads: limit.Bounds{Repository: one(), Server: limit.New(limit.Rule{Running: 3})}, Observer: seen,
	}), t}
	reads := func(rel string) any {
		return &gitalypb.RefExistsRequest{Repository: &gitalypb.Repository{StorageName: "s", RelativePath: rel}}
	}
	known, nobody := metadata.NewIncomingContext(t.Context(), metadata.Pairs("username", "ada")), t.Context()
	c.mustUnary(known, read, reads("a"), func() {
		c.mustUnary(known, read, reads("a"), func() {
			wantRefused(t, c.unary(known, read, reads("a"), nothing), "maximum queue size reached")
			c.mustUnary(nobody, read, reads("a"), func() {
				seen.take()
				wantRefused(t, c.unary(nobody, read, reads("a"), nothing), "maximum queue size reached")
				wantRefused(t, c.unary(known, read, reads("b"), nothing), "maximum queue size reached")
				if got := seen.take(); len(got) != 2 || got[0] != "dropped max_size false" || got[1] != "dropped max_size true" {
					t.Errorf("observed %q", got)
				}
			})
			c.mustUnary(known, read, reads("b"), nothing) // what was taken on the way is given back
		})
	})
}

// TestInterceptors_copies: what takes as long as another server or a whole repository
// holds up nobody else.
func TestInterceptors_copies(t *testing.T) {
	t.Parallel()
	bounds := func() limit.Bounds { return limit.Bounds{Repository: one()} }
	c := caller{limit.NewInterceptors(limit.Options{Reads: bounds(), Writes: bounds(), Copies: bounds(), Observer: &record{}}), t}
	ctx, repo := t.Context(), &gitalypb.Repository{StorageName: "s", RelativePath: "a"}
	for slow, req := range map[string]any{
		"/gitaly.RepositoryService/FetchRemote":       &gitalypb.FetchRemoteRequest{Repository: repo},
		"/gitaly.RepositoryService/BackupRepository":  &gitalypb.BackupRepositoryRequest{Repository: repo},
		"/gitaly.RepositoryService/RestoreRepository": &gitalypb.RestoreRepositoryRequest{Repository: repo},
		"/gitaly.RepositoryService/Fsck":              &gitalypb.FsckRequest{Repository: repo},
	} {
		c.mustUnary(ctx, slow, req, func() {
			c.mustUnary(ctx, write, &gitalypb.WriteRefRequest{Repository: repo}, nothing)
			c.mustUnary(ctx, read, &gitalypb.RefExistsRequest{Repository: repo}, nothing)
			if err := c.unary(ctx, slow, req, nothing); err == nil {
				t.Errorf("a second %s at the same time", slow)
			}
		})
	}
}

// TestInterceptors_anonymous: strangers cannot take all places for downloads.
func TestInterceptors_anonymous(t *testing.T) {
	t.Parallel()
	c := caller{limit.NewInterceptors(limit.Options{
		Downloads: limit.Bounds{Server: limit.New(limit.Rule{Running: 2})}, Anonymous: one(), Observer: &record{},
	}), t}
	side := metadata.Pairs("gitaly-sidechannel-id", "0")
	nobody := metadata.NewIncomingContext(t.Context(), side)
	known := metadata.NewIncomingContext(t.Context(), metadata.Join(side, metadata.Pairs("username", "ada")))
	fetches := func(rel string) any {
		return &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: &gitalypb.Repository{StorageName: "s", RelativePath: rel}}
	}
	c.mustUnary(nobody, fetch, fetches("a"), func() {
		wantRefused(t, c.unary(nobody, fetch, fetches("b"), nothing), "maximum queue size reached")
		c.mustUnary(known, fetch, fetches("b"), func() {
			wantRefused(t, c.unary(known, fetch, fetches("c"), nothing), "maximum queue size reached")
		})
	})
}
