// Package operation changes a repository for a user who is not at a terminal: merges,
// rebases, commits of single files, tags. The hooks of a push run in the same order,
// without git's receive-pack (wire/gitaly.md §13).
//
// The one idea: nothing is checked out. git merges trees, trees are edited as trees,
// and what is new waits in a quarantine of its own until the hooks have said yes.
package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// finishTimeout bounds what follows once the change is permitted. The report that the
// reference has moved may come later still, from the journal.
const finishTimeout = 30 * time.Second

// finishing is the context for that, which the caller's leaving no longer stops.
func finishing(caller context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(caller), finishTimeout)
}

// Options is what a Service needs.
type Options struct {
	Git     Git
	Hooks   *hook.Manager
	Journal Journal
	Setup   pack.HookSetup
	Remotes *remote.Service // fetches from other repositories of the installation
	Writers Writers
	Log     *slog.Logger
	Now     func() time.Time // the time of requests that name none
}

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	ref.Git
	object.Git
	object.Starter
}

// Writers is told of operations under way: who takes objects from a repository waits
// for those that may build on them.
type Writers interface {
	Enter(repoDir string, traces gitcmd.Traces) (leave func(clean bool))
}

// Journal is told the end of each change: whether the reference has moved, nil if that
// is not known.
type Journal interface {
	End(ctx context.Context, id string, moved func(ref string) bool)
}

// Service carries operations out. It is safe for concurrent use.
type Service struct{ o Options }

// New returns a service.
func New(o Options) *Service { return &Service{o: o} }

// Refused is a change that a hook did not permit.
type Refused struct {
	Hook           string // pre-receive or update
	Custom         bool   // a custom hook, not the internal API
	Stdout, Stderr []byte
}

// Error returns what the hook said: on stderr, else on stdout.
func (r *Refused) Error() string {
	for _, said := range [][]byte{r.Stderr, r.Stdout} {
		if len(bytes.TrimSpace(said)) > 0 {
			return string(said)
		}
	}
	return r.Hook + " hook declined"
}

// Request is who wants something of which repository.
type Request struct {
	Message  *gitalypb.Repository // the repository as it came
	Repo     *storage.Repo
	User     *gitalypb.User
	RemoteIP string // of the user; may be empty
	// ClientContext is the caller's own, handed back to it by the internal API's calls.
	ClientContext []byte
}

// Push is a change of one reference for a user.
type Push struct {
	Request
	Change  ref.Change
	Options []string // push options, for the hooks
	// Quarantine holds the objects that the reference needs; nil if there are no new ones.
	Quarantine *storage.Quarantine
}

// lines is the change as hooks and the internal API read it.
func (p Push) lines() []byte {
	return fmt.Appendf(nil, "%s %s %s\n", p.Change.Old, p.Change.New, p.Change.Name)
}

// Move asks the hooks, makes the objects part of the repository and moves the
// reference, in the order of wire/gitaly.md §13. A no of the hooks is a *Refused; a
// reference that is not what it must be is errs.Conflict.
func (s *Service) Move(ctx context.Context, p Push) error {
	call, err := s.call(p)
	if err != nil {
		return err
	}
	if err := s.expect(ctx, p.Repo, p.Change); err != nil {
		return err
	}
	inside := call
	if p.Quarantine != nil {
		inside.Env = p.Quarantine.Env()
	}
	moved := never
	defer func() { s.o.Journal.End(ctx, call.ID, moved) }()
	if err := asked("pre-receive", func(stdout, stderr io.Writer) error {
		return s.o.Hooks.PreReceive(ctx, inside, stdout, stderr)
	}); err != nil {
		return err
	}
	// Permission counted a push in flight: from here on it is finished.
	ctx, cancel := finishing(ctx)
	defer cancel()
	if p.Quarantine != nil {
		if err := p.Quarantine.Migrate(); err != nil {
			return err
		}
	}
	if err := asked("update", func(stdout, stderr io.Writer) error {
		return s.o.Hooks.Update(ctx, call, p.Change.Name, p.Change.Old, p.Change.New, stdout, stderr)
	}); err != nil {
		return err
	}
	moved = nil // a transaction that fails may have been too late to undo: the references know
	if err := s.update(ctx, p.Repo, p.Change, "--no-deref"); err != nil {
		return err
	}
	moved = func(string) bool { return true }
	var stdout, stderr bytes.Buffer
	if err := s.o.Hooks.PostReceive(ctx, call, &stdout, &stderr); err != nil {
		s.o.Log.ErrorContext(ctx, "post-receive of an operation failed", slog.Any("error", err), slog.String("stderr", stderr.String()))
	}
	return nil
}

func never(string) bool { return false }

func (s *Service) call(p Push) (hook.Call, error) {
	format, err := p.Repo.ObjectFormat()
	if err != nil {
		return hook.Call{}, err
	}
	return hook.Call{
		Payload: hookpayload.Payload{
			Repository: p.Message, ObjectFormat: format,
			RuntimeDir: s.o.Setup.RuntimeDir, InternalSocket: s.o.Setup.Socket, InternalSocketToken: s.o.Setup.Token,
			UserDetails: &hookpayload.UserDetails{
				Username: p.User.GetGlUsername(), UserID: p.User.GetGlId(), Protocol: "web", RemoteIP: p.RemoteIP,
			},
			ClientContext: p.ClientContext,
		},
		ID: pack.NewID(), Repo: p.Repo, Changes: p.lines(), Options: p.Options,
	}, nil
}

// asked runs a hook and turns its no into a *Refused.
func asked(name string, run func(stdout, stderr io.Writer) error) error {
	var stdout, stderr bytes.Buffer
	err := run(&stdout, &stderr)
	var exit *hook.Exit
	if !errors.As(err, &exit) {
		return err
	}
	stderr.WriteString(exit.Stderr)
	return &Refused{Hook: name, Custom: exit.Custom, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
}

// expect looks early whether the reference is what it must be: then nobody is asked for
// nothing and no object is kept in vain. What counts is git's own look, under its lock.
func (s *Service) expect(ctx context.Context, repo *storage.Repo, change ref.Change) error {
	objects, err := object.Open(ctx, s.o.Git, &repo.Repo)
	if err != nil {
		return err
	}
	info, err := objects.Info(change.Name)
	if errs.KindOf(err) == errs.NotFound {
		info.OID, err = ref.ZeroOID(change.Old), nil
	}
	if err = errors.Join(err, objects.Close()); err == nil && info.OID != change.Old {
		return errs.New(errs.Conflict, "reference could not be updated")
	}
	return err
}

// update moves the reference. The hooks of a push are run by us, around it; git has
// none to start.
func (s *Service) update(ctx context.Context, repo *storage.Repo, change ref.Change, flags ...string) error {
	began := time.Now()
	if err := ref.Update(ctx, s.o.Git, &repo.Repo, gitcmd.Spec{NoHooks: true, Flags: flags}, change); err != nil {
		return err
	}
	return pack.SyncChanged(repo.Dir, began)
}
