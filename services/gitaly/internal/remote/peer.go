package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/grpcx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// allRefs shows a peer also what clients do not see.
const allRefs = "transfer.hideRefs=!refs"

// Local is a repository of this gitaly. It is a Remote.
type Local struct {
	Repo *storage.Repo
	Git  Git
}

func (p Local) connect(context.Context) (*line, error) {
	l, other, err := socket()
	if err != nil {
		return nil, err
	}
	config, err := gitcmd.ParseConfig([]string{allRefs})
	if err != nil {
		return nil, errors.Join(err, other.Close())
	}
	l.serve = func(ctx context.Context, _ string) error {
		defer func() { _ = other.Close() }()
		return p.Git.Run(ctx, &p.Repo.Repo, gitcmd.Spec{
			Name: "upload-pack", Stdin: other, Stdout: other, Config: config, Env: gitcmd.ProtocolEnv("2"),
		})
	}
	return l, nil
}

func (p Local) describe(ctx context.Context, _ *Service) (Facts, error) {
	format, err := p.Repo.ObjectFormat()
	if err != nil {
		return Facts{}, err
	}
	head, err := ref.Head(ctx, p.Git, &p.Repo.Repo)
	return Facts{Head: head, SHA256: format == "sha256"}, err
}

// Peer is a repository of another gitaly. It is a Remote.
type Peer struct {
	Conn *grpc.ClientConn
	Repo *gitalypb.Repository
}

func (p Peer) connect(context.Context) (*line, error) {
	l, conn, err := wakeable()
	if err != nil {
		return nil, err
	}
	l.serve = func(ctx context.Context, _ string) error {
		defer func() { _ = conn.Close() }()
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		req := &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: p.Repo, GitProtocol: "version=2", GitConfigOptions: []string{allRefs}}
		return grpcx.FromStatus(gitalyclient.SSHUploadPack(ctx, p.Conn, req, conn, conn, io.Discard))
	}
	return l, nil
}

func (p Peer) describe(ctx context.Context, _ *Service) (Facts, error) {
	format, err := gitalypb.NewRepositoryServiceClient(p.Conn).ObjectFormat(ctx, &gitalypb.ObjectFormatRequest{Repository: p.Repo})
	if err != nil {
		return Facts{}, grpcx.FromStatus(err)
	}
	head, err := gitalypb.NewRefServiceClient(p.Conn).FindDefaultBranchName(ctx,
		&gitalypb.FindDefaultBranchNameRequest{Repository: p.Repo, HeadOnly: true})
	if err != nil {
		return Facts{}, grpcx.FromStatus(err)
	}
	return Facts{Head: string(head.GetName()), SHA256: format.GetFormat() == gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256}, nil
}

// socket makes the line of a run of git that gets its end of a pair of sockets,
// and returns the other end. git knows such remotes as fd::<descriptor>.
func socket() (*line, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make sockets for git: %w", err)
	}
	return &line{
		url: "fd::3/peer", config: []gitcmd.Config{{Key: "protocol.fd.allow", Value: "always"}},
		file: os.NewFile(uintptr(fds[0]), "git"),
	}, os.NewFile(uintptr(fds[1]), "peer"), nil
}

// wakeable is socket with an other end from which a read can be woken.
func wakeable() (*line, net.Conn, error) {
	l, other, err := socket()
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.FileConn(other)
	if err := errors.Join(err, other.Close()); err != nil {
		return nil, nil, errors.Join(err, l.file.Close())
	}
	return l, conn, nil
}
