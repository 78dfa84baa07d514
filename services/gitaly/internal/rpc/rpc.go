// Package rpc is gitaly's gRPC surface: one file per RPC, translation only. A
// handler checks the request, calls the domain and builds the response; errors
// become statuses in the interceptor chain.
package rpc

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc/metadata"

	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/backup"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/linguist"
	"gitsplit/services/gitaly/internal/mirror"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/pool"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/replicate"
	"gitsplit/services/gitaly/internal/storage"
)

// ProtocolObserver counts the git protocol versions of transport RPCs.
type ProtocolObserver interface {
	GitProtocol(ctx context.Context, version string)
}

// Deps is what the handlers need.
type Deps struct {
	Locator      *storage.Locator
	Git          *gitcmd.Factory
	Incoming     *object.Incoming
	Packs        *pack.Service
	Hooks        *hook.Manager
	Operations   *operation.Service
	Housekeeping *housekeeping.Manager
	Linguist     linguist.Options
	Protocols    ProtocolObserver
	Log          *slog.Logger
	Version      string // of this server
	// Ready says why the server cannot work, for ReadinessCheck.
	Ready func(ctx context.Context) map[string]error
	Now   func() time.Time

	// Repositories elsewhere, and those made from them.
	Directory remote.Directory
	Outbound  remote.Policy
	Remotes   *remote.Service
	Clones    *clone.Service
	Pools     *pool.Service
	Backups   *backup.Service
	Mirrors   *mirror.Service
	Copies    *replicate.Service
}

// repository finds the repository of a request and notes it for the access line.
func (d *Deps) repository(ctx context.Context, msg *gitalypb.Repository) (*storage.Repo, error) {
	note(ctx, msg)
	return d.Locator.Find(msg)
}

// standing is repository for RPCs that write: what they bring, and what a reference of
// theirs needs, must not lie in the quarantine of a push, which may be refused.
func (d *Deps) standing(ctx context.Context, msg *gitalypb.Repository) (*storage.Repo, error) {
	repo, err := d.repository(ctx, msg)
	if err == nil && (repo.ObjectDir != "" || len(repo.Alternates) > 0) {
		return nil, invalid("the repository must not have object directories")
	}
	return repo, err
}

// objects is repository with a reader of its objects, which the caller closes.
func (d *Deps) objects(ctx context.Context, msg *gitalypb.Repository) (*storage.Repo, *object.Reader, error) {
	repo, err := d.repository(ctx, msg)
	if err != nil {
		return nil, nil, err
	}
	objects, err := object.Open(ctx, d.Git, &repo.Repo)
	return repo, objects, err
}

// place is repository for RPCs that do not need it to exist.
func (d *Deps) place(ctx context.Context, msg *gitalypb.Repository) (*storage.Repo, error) {
	note(ctx, msg)
	return d.Locator.Locate(msg)
}

func note(ctx context.Context, msg *gitalypb.Repository) {
	project := msg.GetGlProjectPath()
	if project == "" {
		project = msg.GetGlRepository()
	}
	if project == "" {
		project = msg.GetRelativePath()
	}
	grpcx.AddAttrs(ctx, slog.String(logging.KeyProject, project))
}

// protocol counts the client's git protocol and warns about one that is none.
func (d *Deps) protocol(ctx context.Context, value string) {
	version, ok := gitcmd.Protocol(value)
	label := "v" + version
	if !ok {
		label = "invalid"
		d.Log.WarnContext(ctx, "invalid git protocol requested", slog.String("git_protocol", value))
	}
	d.Protocols.GitProtocol(ctx, label)
}

// incoming returns the last value of a metadata key, or "".
func incoming(ctx context.Context, key string) string {
	values := metadata.ValueFromIncomingContext(ctx, key)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func invalid(text string) error { return errs.New(errs.Invalid, text) }
