// Package sshd is the SSH server: it accepts connections, logs users in by public
// key and runs one command per session channel. What a command does is the
// Runner's business; no SSH type leaves this package.
//
// Two ideas help in reading it. A user is who signed: the identity of a session
// comes from the permissions that the library returns with the verified key, and
// from nowhere else (wire/gitlab-shell.md §2, security baseline S2). And each
// connection is a value of its own that owns its goroutines: when it ends, its
// sessions are cancelled and waited for.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/kit/netx"
	"gitsplit/services/shell/internal/session"
)

// Identification is what the server calls itself (wire/gitlab-shell.md §10).
const Identification = "SSH-2.0-GitLab-SSHD"

// farewell is the time that cancelled sessions have to tell their users why.
const farewell = 2 * time.Second

// errStopping is why sessions are cancelled when the grace period is over.
var errStopping = errs.New(errs.Unavailable, "The SSH server is being stopped. Please try again in a moment.")

// Keys finds the owner of a public key.
type Keys interface {
	// KeyID returns the id of the key with this wire-format blob in unpadded
	// base64. Any error refuses the key; errs.NotFound means it is unknown.
	KeyID(ctx context.Context, blob string) (int64, error)
}

// Certificates finds the holder of a certificate.
type Certificates interface {
	// Identity returns whom the certificate names when principal logs in with it.
	// Any error refuses it; errs.NotFound means that nobody trusts who signed it.
	Identity(ctx context.Context, principal string, cert *gossh.Certificate) (session.Identity, error)
}

// Runner runs commands.
type Runner interface {
	// Run answers req and returns the exit status. An error is a failure of ours,
	// for the log; the user has been told already.
	Run(ctx context.Context, req session.Request) (exit int, err error)
}

// Options are the settings of a Server; all are required unless said otherwise.
type Options struct {
	// User is the only user name that may log in.
	User string
	// HostKeys prove the server's identity, the preferred one first.
	HostKeys []gossh.Signer
	// Algorithms that may be negotiated.
	Algorithms Algorithms
	// LoginGrace bounds handshake and login; 0 is no bound.
	LoginGrace time.Duration
	// AliveInterval is the pace of keep-alives; 0 sends none.
	AliveInterval time.Duration
	// Grace is the time that connections have to end when the server stops.
	Grace time.Duration
	// MaxSessions bounds the open sessions of one connection.
	MaxSessions int
	// MaxConnections and MaxPerAddress bound the open connections, in total and
	// from one address.
	MaxConnections, MaxPerAddress int
	// Startups bounds those of them that have not logged in.
	Startups Startups
	// Proxy reads PROXY headers; nil takes the peer for the client.
	Proxy *Proxy
}

// Deps are what a Server works with.
type Deps struct {
	Keys         Keys
	Certificates Certificates
	Runner       Runner
	Log          *slog.Logger
	Metrics      *Metrics
	// Draining is called once, when the server begins to stop.
	Draining func()
}

// Server is an SSH server for git.
type Server struct {
	opts      Options
	deps      Deps
	limits    *limiter
	startups  startups
	accepting atomic.Bool
}

// New returns a server that is not yet serving.
func New(o Options, d Deps) *Server {
	return &Server{opts: o, deps: d, limits: newLimiter(o.MaxConnections, o.MaxPerAddress), startups: startups{rule: o.Startups}}
}

// Ready returns nil while the server accepts connections.
func (s *Server) Ready(context.Context) error {
	if !s.accepting.Load() {
		return errors.New("not accepting connections")
	}
	return nil
}

// Serve accepts connections on ln until ctx ends. Then it closes ln and waits for
// the open connections, at most for the grace period; sessions still running are
// told so and cancelled. It returns when no connection is left.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	ln = netx.LastCall(ln)
	if s.opts.Proxy != nil {
		ln = s.opts.Proxy.listen(ln)
	}
	defer context.AfterFunc(ctx, func() {
		s.accepting.Store(false)
		s.deps.Draining()
		_ = ln.Close() // its only fault is to be closed already
	})()
	s.accepting.Store(true)

	var conns sync.WaitGroup
	err := s.accept(ctx, ln, func(nc net.Conn) {
		conns.Go(func() { s.handle(base, nc) })
	})
	s.accepting.Store(false)
	_ = ln.Close() // likewise
	ended := make(chan struct{})
	go func() { conns.Wait(); close(ended) }()
	grace := time.NewTimer(s.opts.Grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
		cancel(errStopping)
		<-ended
	}
	return err
}

// accept hands over connections until ctx ends or ln breaks.
func (s *Server) accept(ctx context.Context, ln net.Listener, serve func(net.Conn)) error {
	const retry = 100 * time.Millisecond
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			serve(nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		default: // out of file descriptors, or a connection that died early
			s.deps.Log.WarnContext(ctx, "accept failed", slog.Any(logging.KeyError, err))
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
}

// handle serves one connection to its end. A panic ends this connection only.
func (s *Server) handle(base context.Context, nc net.Conn) {
	if !s.startups.admit() {
		s.deps.Metrics.dropped.Inc()
		_ = nc.Close() // it is being dropped
		return
	}
	begun := sync.OnceFunc(s.startups.leave)
	defer begun()
	release, ok := s.limits.admit(nc.RemoteAddr())
	if !ok {
		s.deps.Metrics.refused.Inc()
		_ = nc.Close() // it is being dropped
		return
	}
	defer release()
	s.deps.Metrics.connections.Inc()
	defer s.deps.Metrics.connections.Dec()
	c := newConnection(base, s, nc, begun)
	defer c.end()
	defer func() {
		if v := recover(); v != nil {
			logPanic(c.ctx, s.deps.Log, v)
		}
	}()
	c.serve()
}

func logPanic(ctx context.Context, log *slog.Logger, v any) {
	log.ErrorContext(ctx, "panic", slog.Any(logging.KeyError, v), slog.String("stack", string(debug.Stack())))
}
