package pack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// PushIDKey is the environment variable by which the pre-receive hook of a push
// finds the RPC that the push belongs to.
const PushIDKey = "GITALY_PUSH_ID"

// faultAt is after how many bytes the fault suite finds a transfer in the middle.
const faultAt = 64 << 10

// Push is who pushes, and how.
type Push struct {
	Repository    *gitalypb.Repository // as it came, with gl_repository set
	User          hookpayload.UserDetails
	GitProtocol   string
	ConfigOptions []string
	ClientContext []byte
	StatelessRPC  bool // HTTP
}

// ReceivePack runs a push. A refused push is no error: git tells the client. A
// malformed config option is errs.Invalid.
func (s *Service) ReceivePack(ctx context.Context, repo *storage.Repo, p Push, streams Streams) error {
	hooks, mask, err := s.hooksWithWork(repo)
	if err != nil {
		return err
	}
	spec, err := s.receiveSpec(repo, p, mask)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	streams, awake := watchIdle(cancel, s.o.Idle, streams)
	defer awake()
	if spec.HooksPath, err = s.o.Hooks.New(hooks...); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(spec.HooksPath) }()
	id := NewID()
	spec.Env = append(spec.Env, PushIDKey+"="+id)
	sh, ctx, done := s.shield(ctx, id)
	defer done()
	r := newReason(s.o.Git)
	gate := &gate{w: &bands{w: sh.writer(streams.Stdout), reason: r}, repo: repo.Dir, since: time.Now(), report: newReport()}
	if fault.Enabled {
		spec.Env = append(spec.Env, fault.Environ()...)
		streams.Stdin = fault.Reader(ctx, fault.MidPack, p.Repository.GetGlRepository(), streams.Stdin, faultAt)
	}
	wanted := newCommands(streams.Stdin, repo)
	spec.Stdin, spec.Stdout = wanted, gate
	if streams.Stderr != nil {
		spec.Stderr = r.stderr(sh.writer(streams.Stderr))
	}
	if err = s.o.Git.Run(ctx, &repo.Repo, spec); err == nil && wanted.bulk.Load() {
		if gate.whole, err = durable.OpenFileSystem(repo.Dir); err == nil {
			defer gate.whole.Close()
			err = s.o.Git.Run(ctx, &repo.Repo, wanted.again(spec))
		}
	}
	s.forget(id)
	s.o.Journal.End(ctx, id, gate.report.moved())
	if r.unsynced() {
		s.o.Suspect(ctx, repo, errors.Join(errors.New("git could not sync what it wrote"), err))
	}
	switch {
	case gate.err != nil: // it ended git
		return gate.err
	case err != nil:
		return timedOut(err)
	case gate.synced: // else git reported nothing, so nothing moved that the client knows of
		return nil
	}
	return gate.sync()
}

// NewID names a push.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// hooksWithWork says which hooks git shall start, by name and by bit. The others
// would each cost a process per reference to do nothing: update has only custom hooks
// to run, and reference-transaction nobody to vote with.
func (s *Service) hooksWithWork(repo *storage.Repo) ([]string, hookpayload.Hook, error) {
	names, mask := []string{"pre-receive", "post-receive"}, hookpayload.PreReceive|hookpayload.PostReceive
	custom, err := s.o.Hooks.Custom(repo, "update")
	if custom || fault.Enabled && fault.Armed() {
		names, mask = append(names, "update"), mask|hookpayload.Update
	}
	return names, mask, err
}

func (s *Service) receiveSpec(repo *storage.Repo, p Push, hooks hookpayload.Hook) (gitcmd.Spec, error) {
	var flags []string
	if p.StatelessRPC {
		flags = []string{"--stateless-rpc"}
	}
	spec, err := transport("receive-pack", p.GitProtocol, p.ConfigOptions, flags...)
	if err != nil {
		return spec, errs.New(errs.Invalid, err.Error())
	}
	format, err := repo.ObjectFormat()
	if err != nil {
		return spec, err
	}
	payload, err := hookpayload.Payload{
		RequestedHooks: hooks, Repository: p.Repository, ObjectFormat: format,
		RuntimeDir: s.o.Hooks.RuntimeDir, InternalSocket: s.o.Hooks.Socket, InternalSocketToken: s.o.Hooks.Token,
		UserDetails: &p.User, ClientContext: p.ClientContext,
	}.Env()
	if err != nil {
		return spec, err
	}
	spec.Env = append(spec.Env, payload)
	return spec, nil
}

// shield stands between the end of an RPC and its git.
type shield struct {
	mu       sync.Mutex
	accepted bool
	ended    bool
}

// shield returns the context for git: it ends with the caller's, but for an
// accepted push only FinishTimeout later.
func (s *Service) shield(caller context.Context, id string) (*shield, context.Context, func()) {
	sh := &shield{}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller))
	s.mu.Lock()
	s.pushes[id] = sh
	s.mu.Unlock()
	stop := context.AfterFunc(caller, func() {
		if sh.end() {
			cancel(context.Cause(caller))
			return
		}
		s.o.Log.WarnContext(ctx, "client left an accepted push; it is finished without it")
		timer := time.NewTimer(s.o.FinishTimeout)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			s.o.Log.ErrorContext(ctx, "accepted push did not finish", slog.Duration("timeout", s.o.FinishTimeout))
			cancel(context.Cause(caller))
		}
	})
	return sh, ctx, func() {
		stop()
		cancel(nil)
		s.forget(id)
	}
}

// forget takes note that nothing of a push runs any more.
func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pushes, id)
}

// Judged is called when pre-receive has decided, whatever it was. Its push may have
// ended meanwhile, by a killed hook: then the record that it has made ends here, for
// nobody else would end it.
func (s *Service) Judged(ctx context.Context, id string) {
	s.mu.Lock()
	_, running := s.pushes[id]
	s.mu.Unlock()
	if !running {
		s.o.Journal.End(ctx, id, nil)
	}
}

// end tells the shield that the caller left; it reports whether git must end too.
func (sh *shield) end() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.ended = true
	return !sh.accepted
}

// Accept marks the push as accepted by pre-receive. It is errs.Canceled if the
// caller has left, for then git is being ended. Pushes of nobody's RPC pass.
func (s *Service) Accept(id string) error {
	s.mu.Lock()
	sh, ok := s.pushes[id]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended {
		return errs.New(errs.Canceled, "user canceled the push")
	}
	sh.accepted = true
	return nil
}

// writer passes on what git prints. Once the push is accepted a client that does
// not take it any more no longer counts.
func (sh *shield) writer(w io.Writer) io.Writer { return &shieldedWriter{shield: sh, w: w} }

type shieldedWriter struct {
	shield *shield
	w      io.Writer
	broken bool
}

func (w *shieldedWriter) Write(p []byte) (int, error) {
	if w.broken {
		return len(p), nil
	}
	n, err := w.w.Write(p)
	if err == nil {
		return n, nil
	}
	w.shield.mu.Lock()
	defer w.shield.mu.Unlock()
	if !w.shield.accepted {
		return n, fmt.Errorf("write to client: %w", err)
	}
	w.broken = true
	return len(p), nil
}
