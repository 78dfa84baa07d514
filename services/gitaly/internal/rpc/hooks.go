package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/logging"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/pack"
)

// Hooks is HookService: what gitaly-hooks asks, on the internal socket alone.
type Hooks struct {
	gitalypb.UnimplementedHookServiceServer
	*Deps
}

// maxHookInput bounds the reference updates of one push: 200,000 lines.
const maxHookInput = 96 << 20

// hookCall puts a hook's request together: the repository of the request must be
// the one the payload was made for.
func (h Hooks) hookCall(ctx context.Context, msg *gitalypb.Repository, env []string) (hook.Call, error) {
	payload, err := hookpayload.FromEnv(env)
	if err != nil {
		return hook.Call{}, invalid(err.Error())
	}
	own := payload.Repository
	if msg.GetStorageName() != own.GetStorageName() || msg.GetRelativePath() != own.GetRelativePath() {
		return hook.Call{}, invalid("repository is not the payload's")
	}
	repo, err := h.repository(ctx, own)
	if err != nil {
		return hook.Call{}, err
	}
	if u := payload.UserDetails; u != nil {
		grpcx.AddAttrs(ctx, slog.String(logging.KeyUser, u.Username), slog.String("gl_id", u.UserID))
	}
	return hook.Call{Payload: payload, Repo: repo, Env: env}, nil
}

// hookInput is what the first messages of the hooks around a push have in common.
type hookInput interface {
	GetRepository() *gitalypb.Repository
	GetEnvironmentVariables() []string
	GetGitPushOptions() []string
}

// pushCall is hookCall with the push options and the changes, which recv receives.
func (h Hooks) pushCall(ctx context.Context, first hookInput, recv func() ([]byte, error)) (hook.Call, error) {
	call, err := h.hookCall(ctx, first.GetRepository(), first.GetEnvironmentVariables())
	if err != nil {
		return hook.Call{}, err
	}
	call.ID, call.Options = call.Getenv(pack.PushIDKey), first.GetGitPushOptions()
	call.Changes, err = readAll(recv)
	return call, err
}

// readAll reads the hook's stdin.
func readAll(recv func() ([]byte, error)) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(streamio.NewReader(recv), maxHookInput+1))
	if err != nil {
		return nil, fmt.Errorf("read hook input: %w", err)
	}
	if len(data) > maxHookInput {
		return nil, errs.New(errs.Exhausted, "hook input is too long")
	}
	return data, nil
}

// ending turns a hook's result into its last message, or an error of the RPC.
func ending(err error) (*hook.Exit, error) {
	var exit *hook.Exit
	switch {
	case err == nil:
		return &hook.Exit{}, nil
	case errors.As(err, &exit):
		return exit, nil
	}
	return nil, err
}

// output is a hook's stdout or stderr as messages of a stream that both share.
func output(mu *sync.Mutex, send func([]byte) error) io.Writer {
	return streamio.NewWriter(func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return send(b)
	})
}
