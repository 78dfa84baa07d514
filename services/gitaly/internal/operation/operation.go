// Package operation changes a repository for a user who is not at a terminal: the
// same hooks as in a push, in the same order, without git in between
// (wire/gitaly.md §13). It moves references to objects that are there already, so
// there is no quarantine.
package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// finishTimeout bounds what follows once the change is permitted; the caller's
// leaving no longer stops it.
const finishTimeout = 30 * time.Second

// Service carries operations out. It is safe for concurrent use.
type Service struct {
	git   ref.Git
	hooks *hook.Manager
	setup pack.HookSetup
	log   *slog.Logger
}

// New returns a service.
func New(git ref.Git, hooks *hook.Manager, setup pack.HookSetup, log *slog.Logger) *Service {
	return &Service{git: git, hooks: hooks, setup: setup, log: log}
}

// Refused is a change that a hook did not permit.
type Refused struct {
	Hook           string // pre-receive or update
	Custom         bool   // a custom hook, not the internal API
	Stdout, Stderr []byte
}

// Error returns what the hook said: on stderr, else on stdout.
func (r *Refused) Error() string {
	if len(bytes.TrimSpace(r.Stderr)) > 0 {
		return string(r.Stderr)
	}
	return string(r.Stdout)
}

// Move asks the hooks and moves the reference. A no of theirs is a *Refused; a
// reference that is not what it must be is errs.Conflict.
func (s *Service) Move(ctx context.Context, msg *gitalypb.Repository, repo *storage.Repo, user *gitalypb.User, change ref.Change) error {
	call, err := s.call(msg, repo, user, change)
	if err != nil {
		return err
	}
	if err := s.ask(ctx, call, change); err != nil {
		return err
	}
	// Permission counted a push in flight: from here on it is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	moved := s.update(ctx, repo, change)
	if moved != nil {
		return moved
	}
	var stdout, stderr bytes.Buffer
	if err := s.hooks.PostReceive(ctx, call, &stdout, &stderr); err != nil {
		s.log.ErrorContext(ctx, "post-receive of an operation failed", slog.Any("error", err), slog.String("stderr", stderr.String()))
	}
	return nil
}

func (s *Service) call(msg *gitalypb.Repository, repo *storage.Repo, user *gitalypb.User, change ref.Change) (hook.Call, error) {
	format, err := repo.ObjectFormat()
	if err != nil {
		return hook.Call{}, err
	}
	return hook.Call{
		Payload: hookpayload.Payload{
			Repository: msg, ObjectFormat: format,
			RuntimeDir: s.setup.RuntimeDir, InternalSocket: s.setup.Socket, InternalSocketToken: s.setup.Token,
			UserDetails: &hookpayload.UserDetails{Username: user.GetGlUsername(), UserID: user.GetGlId(), Protocol: "web"},
		},
		Repo: repo, Changes: fmt.Appendf(nil, "%s %s %s\n", change.Old, change.New, change.Name),
	}, nil
}

// ask runs pre-receive and update.
func (s *Service) ask(ctx context.Context, call hook.Call, change ref.Change) error {
	var stdout, stderr bytes.Buffer
	refused := func(name string, err error) error {
		var exit *hook.Exit
		if !errors.As(err, &exit) {
			return err
		}
		stderr.WriteString(exit.Stderr)
		return &Refused{Hook: name, Custom: exit.Custom, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	}
	if err := s.hooks.PreReceive(ctx, call, &stdout, &stderr); err != nil {
		return refused("pre-receive", err)
	}
	if err := s.hooks.Update(ctx, call, change.Name, change.Old, change.New, &stdout, &stderr); err != nil {
		return refused("update", err)
	}
	return nil
}

// update moves the reference. The hooks of a push are run by us, around it; git has
// none to start.
func (s *Service) update(ctx context.Context, repo *storage.Repo, change ref.Change) error {
	began := time.Now()
	if err := ref.Update(ctx, s.git, &repo.Repo, gitcmd.Spec{NoHooks: true}, change); err != nil {
		return err
	}
	return pack.SyncChanged(repo.Dir, began)
}
