package limit

import (
	"context"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
)

// Bounds are the limits of a kind of RPC.
type Bounds struct {
	Repository *Limiter // for each repository
	Server     *Limiter // for all of them together
}

// Options are the limits of RPCs that act on a repository. Others are not limited,
// nor is maintenance, which has bounds of its own.
//
// A call passes the limit that the operator has set for its RPC or, without one, that
// of its kind for the repository, and then that of its kind for the server. The kinds
// are apart from each other because one may wait for another: a write calls its hooks,
// their answer may need reads of the same repository, and a transfer takes as long as
// its client likes, which must not hold up those that are over in a moment.
type Options struct {
	RPCs      map[string]Split // by full method, "/gitaly.SSHService/SSHReceivePack"
	Reads     Bounds           // unary, over as soon as git has the answer
	Writes    Bounds
	Downloads Bounds // streams, and unary RPCs with a sidechannel
	Uploads   Bounds
	// Anonymous is one more limit for downloads of callers without a user name: who is
	// logged in finds a place even if strangers with slow lines take all of theirs.
	Anonymous *Limiter
	Copies    Bounds // those that copy repositories, from other servers too
	Observer  Observer
}

// copies are the RPCs that take as long as another server or a whole repository,
// though they are unary: they must not hold up writes, nor pushes.
var copies = map[string]bool{ //nolint:gochecknoglobals // a constant
	"/gitaly.RepositoryService/CreateFork": true, "/gitaly.RepositoryService/CreateRepositoryFromURL": true,
	"/gitaly.RepositoryService/CreateRepositoryFromSnapshot": true, "/gitaly.RepositoryService/FetchRemote": true,
	"/gitaly.RepositoryService/FetchSourceBranch": true, "/gitaly.RepositoryService/ReplicateRepository": true,
	"/gitaly.ObjectPoolService/CreateObjectPool": true, "/gitaly.ObjectPoolService/FetchIntoObjectPool": true,
	"/gitaly.ObjectPoolService/DisconnectGitAlternates": true, "/gitaly.RemoteService/UpdateRemoteMirror": true,
	"/gitaly.RemoteService/FindRemoteRootRef": true, "/gitaly.RepositoryService/BackupRepository": true,
	"/gitaly.RepositoryService/RestoreRepository": true, "/gitaly.RepositoryService/Fsck": true,
}

// Interceptors apply the limits.
type Interceptors struct{ o Options }

// NewInterceptors returns the limits as interceptors.
func NewInterceptors(o Options) *Interceptors { return &Interceptors{o} }

// usernameKey is the metadata that says who called; without it nobody is logged in.
const usernameKey = "username"

// acquire waits for the turns of a call.
func (i *Interceptors) acquire(ctx context.Context, rpc string, stream bool, req any) (func(), error) {
	m := method.Of(rpc)
	target := m.Repository(req)
	if target.GetRelativePath() == "" {
		return func() {}, nil
	}
	c := call{rpc: rpc, authenticated: len(metadata.ValueFromIncomingContext(ctx, usernameKey)) > 0}
	repository := path.Join(target.GetStorageName(), target.GetRelativePath())
	transfer := stream || len(metadata.ValueFromIncomingContext(ctx, sidechannel.MetadataKey)) > 0
	kind := i.kind(m, rpc, transfer)
	own, configured := i.o.RPCs[rpc]
	var anonymous *Limiter
	if transfer && m.Op == gitalypb.OperationMsg_ACCESSOR && !c.authenticated {
		anonymous = i.o.Anonymous
	}
	if configured {
		kind.Repository = own.of(c.authenticated)
	}
	return pass(ctx, i.o.Observer, c, step{kind.Repository, repository}, step{anonymous, ""}, step{kind.Server, ""})
}

func (i *Interceptors) kind(m method.Method, rpc string, transfer bool) Bounds {
	writes := m.Op == gitalypb.OperationMsg_MUTATOR
	switch {
	case copies[rpc]:
		return i.o.Copies
	case m.Op == gitalypb.OperationMsg_MAINTENANCE:
		return Bounds{}
	case transfer && writes:
		return i.o.Uploads
	case transfer:
		return i.o.Downloads
	case writes:
		return i.o.Writes
	}
	return i.o.Reads
}

// Unary limits unary RPCs. It runs after authentication, so that a call that waits
// does not outlive its token.
func (i *Interceptors) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	release, err := i.acquire(ctx, info.FullMethod, false, req)
	if err != nil {
		return nil, err
	}
	defer release()
	return next(ctx, req)
}

// Stream limits streams once their first message is read, until they end.
func (i *Interceptors) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	release := func() {}
	defer func() { release() }()
	return next(srv, method.First(stream, func(req any) error {
		turn, err := i.acquire(stream.Context(), info.FullMethod, true, req)
		if err == nil {
			release = turn
		}
		return err
	}))
}
