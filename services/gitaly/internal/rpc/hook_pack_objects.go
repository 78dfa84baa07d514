package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/pack"
)

// hookSocketName is the base name of the hook's socket.
const hookSocketName = "sidechannel"

// hookDialTimeout bounds the way back to a hook, which listens already.
const hookDialTimeout = time.Second

// PackObjectsHookWithSidechannel makes a pack for upload-pack, or has it already
// (wire/gitaly.md §6.7). Data travels on the Unix socket of the hook, or straight to
// the client of a fetch of ours.
func (h Hooks) PackObjectsHookWithSidechannel(ctx context.Context, req *gitalypb.PackObjectsHookWithSidechannelRequest) (*gitalypb.PackObjectsHookWithSidechannelResponse, error) {
	repo, err := h.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	conn, err := dialHook(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var t transfer
	defer t.note(ctx)
	var out io.Writer = conn
	past, release := h.Packs.Bypass(ctx, hook.Call{Env: req.GetEnvironmentVariables()}.Getenv(pack.FetchIDKey), req.GetArgs())
	if past != nil {
		defer release()
		out = past
	}
	cached, err := h.Packs.PackObjects(ctx, repo, pack.Wanted{
		Args: req.GetArgs(), Protocol: req.GetGitProtocol(), RemoteIP: req.GetRemoteIp(), Username: req.GetGlUsername(),
	}, t.reader(conn), t.writer(out))
	grpcx.AddAttrs(ctx, slog.Bool("pack_cached", cached), slog.Bool("pack_direct", past != nil))
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil, errs.Wrap(errs.Canceled, "user canceled the request", err)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.PackObjectsHookWithSidechannelResponse{}, nil
}

// dialHook connects to the hook that makes the call.
func dialHook(ctx context.Context) (net.Conn, error) {
	path := incoming(ctx, "gitaly-sidechannel-socket")
	if filepath.Base(path) != hookSocketName || !filepath.IsAbs(path) {
		return nil, errs.New(errs.Invalid, "sidechannel: not the socket of a hook")
	}
	dialer := net.Dialer{Timeout: hookDialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("sidechannel: connect to hook: %w", err)
	}
	return conn, nil
}
