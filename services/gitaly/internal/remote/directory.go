package remote

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/customhook"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/storage"
)

// Repository is a repository of this installation.
type Repository interface {
	Remote
	// Resolve returns the id of the commit that a revision stands for; "" if there is
	// none.
	Resolve(ctx context.Context, revision string) (string, error)
	// Exists reports whether the repository is there and valid.
	Exists(ctx context.Context) (bool, error)
	// Hooks writes the custom hooks as a tar file; nothing if there are none.
	Hooks(ctx context.Context, w io.Writer) error
}

// Directory finds the repositories of this installation.
type Directory struct {
	Locator *storage.Locator
	Git     Git
	Peers   *gitalyclient.Pool
}

// maxServers bounds the metadata that names servers, in bytes.
const maxServers = 64 << 10

// Find returns the repository that a message names. One of a storage that is not
// ours is sought at the server which servers names for it: the value of the
// metadata key gitaly-servers (wire/gitaly.md §3). A local one must be valid.
func (d Directory) Find(msg *gitalypb.Repository, servers string) (Repository, error) {
	if _, err := d.Locator.Storage(msg.GetStorageName()); err == nil || msg.GetStorageName() == "" || msg.GetRelativePath() == "" {
		repo, err := d.Locator.Find(msg)
		if err != nil {
			return nil, err
		}
		return Local{Repo: repo, Git: d.Git}, nil
	}
	address, token, err := server(servers, msg.GetStorageName())
	if err != nil {
		return nil, err
	}
	conn, err := d.Peers.Conn(address, token)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "the address of the source storage's server is malformed", err)
	}
	return Peer{Conn: conn, Repo: msg}, nil
}

// server reads the address and the token of a storage's server.
func server(servers, storage string) (address, token string, err error) {
	var list map[string]struct{ Address, Token string }
	raw, err := base64.StdEncoding.DecodeString(servers)
	if err == nil && len(raw) <= maxServers {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		return "", "", errs.New(errs.Invalid, "malformed gitaly-servers metadata")
	}
	s := list[storage]
	if s.Address == "" {
		return "", "", errs.New(errs.Invalid, "the server of the source storage is not named")
	}
	return s.Address, s.Token, nil
}

// Resolve asks git.
func (p Local) Resolve(ctx context.Context, revision string) (string, error) {
	objects, err := object.Open(ctx, p.Git, &p.Repo.Repo)
	if err != nil {
		return "", err
	}
	defer func() { _ = objects.Close() }()
	info, err := objects.Info(revision + "^{commit}")
	if errs.KindOf(err) == errs.NotFound {
		return "", nil
	}
	return info.OID, err
}

// Exists looks at the disk.
func (p Local) Exists(context.Context) (bool, error) { return p.Repo.Exists() }

// Resolve asks the other gitaly.
func (p Peer) Resolve(ctx context.Context, revision string) (string, error) {
	found, err := gitalypb.NewCommitServiceClient(p.Conn).FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: p.Repo, Revision: []byte(revision)})
	return found.GetCommit().GetId(), grpcx.FromStatus(err)
}

// Exists asks the other gitaly.
func (p Peer) Exists(ctx context.Context) (bool, error) {
	found, err := gitalypb.NewRepositoryServiceClient(p.Conn).RepositoryExists(ctx, &gitalypb.RepositoryExistsRequest{Repository: p.Repo})
	return found.GetExists(), grpcx.FromStatus(err)
}

// Hooks reads them from the disk.
func (p Local) Hooks(ctx context.Context, w io.Writer) error { return customhook.Get(ctx, p.Repo, w) }

// Hooks asks the other gitaly.
func (p Peer) Hooks(ctx context.Context, w io.Writer) error {
	stream, err := gitalypb.NewRepositoryServiceClient(p.Conn).GetCustomHooks(ctx, &gitalypb.GetCustomHooksRequest{Repository: p.Repo})
	if err != nil {
		return grpcx.FromStatus(err)
	}
	_, err = io.Copy(w, streamio.NewReader(func() ([]byte, error) {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return m.GetData(), nil
	}))
	return grpcx.FromStatus(err)
}
