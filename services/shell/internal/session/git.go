package session

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/shell/internal/command"
)

const featurePrefix = "gitaly-feature-"

// git runs one of git's own commands: access check, then relay
// (wire/gitlab-shell.md §6.2).
func (r *Runner) git(ctx context.Context, cmd command.Command, req Request) error {
	access, err := r.access(ctx, cmd.Name, cmd.Repository, req)
	if err != nil {
		return err
	}
	if fault.Enabled {
		fault.Point(ctx, fault.AfterAccessCheck, access.GLRepository)
		defer fault.Point(ctx, fault.BeforeExitStatus, access.GLRepository)
	}
	started := time.Now()
	conn, err := r.gitaly[cmd.Name].ConnRetrying(access.Gitaly.Address, access.Gitaly.Token, access.RetryConfig)
	if err == nil {
		err = relay(outgoing(ctx, access, req), conn, cmd, access, req)
	}
	r.count(err == nil)
	took := time.Since(started)
	r.phase("git", took)
	logging.AddAttrs(ctx, slog.Float64("git_ms", logging.Milliseconds(took)))
	return err
}

// relay connects the user's git with the one that gitaly runs, until it ends. The
// exit status of the latter is not passed on: a failure is an error already.
func relay(ctx context.Context, conn *grpc.ClientConn, cmd command.Command, access internalapi.AllowedResponse, req Request) error {
	repository := repositoryOf(access.Gitaly.Repository)
	switch cmd.Name {
	case command.UploadPack:
		return gitalyclient.SSHUploadPack(ctx, conn, &gitalypb.SSHUploadPackWithSidechannelRequest{
			Repository:       repository,
			GitProtocol:      req.GitProtocol,
			GitConfigOptions: access.GitConfigOptions,
		}, req.Stdin, req.Stdout, req.Stderr)
	case command.ReceivePack:
		return ended(gitalyclient.SSHReceivePack(ctx, conn, &gitalypb.SSHReceivePackRequest{
			Repository:       repository,
			GlId:             glID(access, req),
			GlRepository:     access.GLRepository,
			GlUsername:       access.GLUsername,
			GitProtocol:      req.GitProtocol,
			GitConfigOptions: access.GitConfigOptions,
		}, req.Stdin, req.Stdout, req.Stderr))
	case command.UploadArchive:
		return ended(gitalyclient.SSHUploadArchive(ctx, conn, &gitalypb.SSHUploadArchiveRequest{
			Repository: repository,
		}, req.Stdin, req.Stdout, req.Stderr))
	default:
		return errs.Newf(errs.Internal, "%s is not a git command", cmd.Name)
	}
}

// glID names the pusher for the hooks: by the key, so that the API sees which one
// it was, or else as the API named them.
func glID(access internalapi.AllowedResponse, req Request) string {
	if req.KeyID != 0 {
		return "key-" + strconv.FormatInt(req.KeyID, 10)
	}
	return access.GLID
}

// ended makes an error of an exit status that came without one.
func ended(exit int32, err error) error {
	if err == nil && exit != 0 {
		return errGitFailed
	}
	return err
}

func repositoryOf(r internalapi.Repository) *gitalypb.Repository {
	return &gitalypb.Repository{
		StorageName:                   r.StorageName,
		RelativePath:                  r.RelativePath,
		GitObjectDirectory:            r.GitObjectDirectory,
		GitAlternateObjectDirectories: r.GitAlternateObjectDirectories,
		GlRepository:                  r.GLRepository,
		GlProjectPath:                 r.GLProjectPath,
	}
}

// outgoing adds what gitaly is told about the user beside the request.
func outgoing(ctx context.Context, access internalapi.AllowedResponse, req Request) context.Context {
	pairs := []string{
		"key_id", strconv.FormatInt(access.GLKeyID, 10),
		"key_type", access.GLKeyType,
		"user_id", access.GLID,
		"username", access.GLUsername,
		"remote_ip", req.RemoteAddr,
	}
	for name, value := range access.Gitaly.Features {
		if strings.HasPrefix(name, featurePrefix) {
			pairs = append(pairs, name, value)
		}
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}
