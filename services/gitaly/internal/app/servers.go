package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/lifecycle"
	"gitsplit/kit/netx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/limit"
	"gitsplit/services/gitaly/internal/rpc"
	"gitsplit/services/gitaly/internal/suspect"
)

// stopReserve is what a server's part keeps beyond its drain for cutting calls:
// an accepted push may still finish.
const stopReserve = finishTimeout + 5*time.Second

// listen opens the listeners and lists the parts in the order of their start;
// they stop in the opposite one, the internal socket after those that need it.
func (a *App) listen() error {
	internal, err := a.openListener("unix:" + a.run.Socket())
	if err != nil {
		return err
	}
	external, err := a.openExternal()
	if err != nil {
		return err
	}
	if a.cfg.PrometheusListenAddr != "" {
		ln, err := a.openListener(a.cfg.PrometheusListenAddr)
		if err != nil {
			return err
		}
		a.parts = append(a.parts, lifecycle.HTTP("probes", netx.HTTPServer(a.probes.Handler(), a.log), ln, time.Second))
	}
	token, err := a.cfg.authToken()
	if err != nil {
		return err
	}
	previous, err := a.cfg.previousToken()
	if err != nil {
		return err
	}
	if daily := a.daily(); daily != nil {
		a.parts = append(a.parts, background("daily maintenance", daily.Run))
	}
	for _, st := range a.locator.Storages() {
		a.parts = append(a.parts, background("removals of "+st.Name, st.RetryRemovals))
	}
	a.parts = append(a.parts, background("push journal", a.journal.Journal.Run), background("housekeeping", a.scheduler.Run), background("checks", a.probes.Run), background("adaptive limits", a.adapt),
		background("leftovers", a.sweep), background("temporary files", a.sweepTemp),
		a.part("internal socket", a.internalServer(), time.Second, internal),
		a.part("gRPC", a.externalServer(token, previous), a.cfg.GracefulRestartTimeout.D(), external...))
	return nil
}

// openExternal opens the listeners of everybody else.
func (a *App) openExternal() ([]net.Listener, error) {
	var open []net.Listener
	for _, l := range []struct{ kind, addr string }{
		{"unix", a.cfg.socketAddr()}, {"tcp", a.cfg.ListenAddr}, {"tls", a.cfg.TLSListenAddr},
	} {
		if l.addr == "" {
			continue
		}
		ln, err := a.openListener(l.addr)
		if err != nil {
			return nil, err
		}
		ln = a.metrics.Connections(l.kind, ln)
		if l.kind == "tls" {
			if a.cert, err = newCertificate(a.cfg.TLS, a.log); err != nil {
				return nil, err
			}
			ln = tlsListener{ln}
		}
		open = append(open, ln)
	}
	return open, nil
}

// openListener opens an address and remembers to close it; a server that ran has
// closed it already.
func (a *App) openListener(addr string) (net.Listener, error) {
	ln, err := netx.Listen(addr)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, func() error {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return ln, nil
}

// background is a part that works until ctx ends.
func background(name string, work func(ctx context.Context)) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ready()
		work(ctx)
		<-ctx.Done()
		return nil
	}}
}

// sweep looks once through all repositories for what dead processes left.
func (a *App) sweep(ctx context.Context) {
	var roots []string
	for _, st := range a.locator.Storages() {
		roots = append(roots, st.Path)
	}
	if err := a.guard.SweepAll(ctx, roots...); err != nil && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "search for leftovers failed", slog.Any("error", err))
	}
}

// Temporary files live this long, and are looked through this often
// (wire/gitaly.md §16).
const (
	tempAge   = 7 * 24 * time.Hour
	tempSweep = time.Hour
)

// sweepTemp removes old temporary files until ctx ends.
func (a *App) sweepTemp(ctx context.Context) {
	for tick := time.NewTicker(tempSweep); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case now := <-tick.C:
			for _, st := range a.locator.Storages() {
				if n, err := st.SweepTemp(now.Add(-tempAge)); err != nil || n > 0 {
					a.log.WarnContext(ctx, "old temporary files removed", slog.String("storage", st.Name), slog.Int("entries", n), slog.Any("error", err))
				}
			}
		}
	}
}

// externalServer serves everything but the hooks.
func (a *App) externalServer(token, previous string) *grpc.Server {
	srv := a.newServer(a.authentication(token, previous, !a.cfg.Auth.Transitioning),
		limit.NewInterceptors(a.limits.calls))
	if a.cfg.Reflection {
		reflection.Register(srv)
	}
	gitalypb.RegisterSSHServiceServer(srv, rpc.SSH{Deps: a.deps})
	gitalypb.RegisterSmartHTTPServiceServer(srv, rpc.SmartHTTP{Deps: a.deps})
	gitalypb.RegisterRepositoryServiceServer(srv, rpc.Repository{Deps: a.deps})
	gitalypb.RegisterRefServiceServer(srv, rpc.Ref{Deps: a.deps})
	gitalypb.RegisterCommitServiceServer(srv, rpc.Commit{Deps: a.deps})
	gitalypb.RegisterOperationServiceServer(srv, rpc.Operation{Deps: a.deps})
	gitalypb.RegisterConflictsServiceServer(srv, rpc.Conflicts{Deps: a.deps})
	gitalypb.RegisterBlobServiceServer(srv, rpc.Blob{Deps: a.deps})
	gitalypb.RegisterDiffServiceServer(srv, rpc.Diff{Deps: a.deps})
	gitalypb.RegisterServerServiceServer(srv, rpc.Server{Deps: a.deps})
	gitalypb.RegisterRemoteServiceServer(srv, rpc.Remote{Deps: a.deps})
	gitalypb.RegisterObjectPoolServiceServer(srv, rpc.ObjectPool{Deps: a.deps})
	return srv
}

// internalServer serves the hooks. Its token is made anew at each start and known
// to our own children only: who could call it could speak for any user.
func (a *App) internalServer() *grpc.Server {
	srv := a.newServer(a.authentication(a.token, "", true), nil)
	gitalypb.RegisterHookServiceServer(srv, rpc.Hooks{Deps: a.deps})
	return srv
}

// authentication checks the token, or with enforced false only counts.
func (a *App) authentication(token, previous string, enforced bool) gitalyauth.Options {
	return gitalyauth.Options{
		Token: token, Previous: previous, Transitioning: !enforced,
		Refused: a.metrics.Denied(enforced), Accepted: a.metrics.Authenticated(enforced),
	}
}

// newServer has the interceptor chain: correlation id, access line and recovery
// outermost, so that refused calls have them too; then metrics; then the token;
// then the limits, so that a call that waits does not outlive its token; then what
// settles the pushes of a dead gitaly; then what keeps the cache of references true;
// then what marks repositories in which a sync failed; then what counts writes.
// limits is nil for the hooks, whose pushes have their turn.
func (a *App) newServer(auth gitalyauth.Options, limits *limit.Interceptors) *grpc.Server {
	unary := []grpc.UnaryServerInterceptor{a.metrics.Unary, gitalyauth.UnaryInterceptor(auth)}
	stream := []grpc.StreamServerInterceptor{a.metrics.Stream, gitalyauth.StreamInterceptor(auth)}
	if limits != nil {
		unary, stream = append(unary, limits.Unary), append(stream, limits.Stream)
	}
	suspects, writes := suspect.Interceptors(a.marks, a.locator), housekeeping.Interceptors(a.scheduler, a.locator)
	unary = append(unary, a.journal.Unary, a.refs.Unary, suspects.Unary, writes.Unary)
	stream = append(stream, a.journal.Stream, a.refs.Stream, suspects.Stream, writes.Stream)
	options := grpcx.ServerOptions(grpcx.Options{
		Log: a.log, ExposeInternal: true, Texts: map[codes.Code]string{codes.Aborted: rpc.AbortedText},
	}, unary, stream)
	options = append(options,
		grpc.Creds(newServerCreds(a.cert, versions[a.cfg.TLS.MinVersion])),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Minute}),
		grpc.WaitForHandlers(true))
	return grpc.NewServer(options...)
}

// part serves srv on the listeners. At the end it drains for the grace period,
// then cancels what is left and waits for the handlers, and so for their children.
func (a *App) part(name string, srv *grpc.Server, grace time.Duration, listeners ...net.Listener) lifecycle.Part {
	h := health.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	run := func(ctx context.Context, ready func()) error {
		var serving errgroup.Group
		for _, ln := range listeners {
			serving.Go(func() error { return srv.Serve(ln) })
		}
		failed := make(chan error, 1)
		go func() { failed <- serving.Wait() }()
		ready()
		select {
		case err := <-failed:
			srv.Stop()
			return fmt.Errorf("serve: %w", err)
		case <-ctx.Done():
		}
		a.probes.Stop()
		h.Shutdown()
		timer := time.AfterFunc(grace, srv.Stop)
		defer timer.Stop()
		srv.GracefulStop()
		return <-failed
	}
	return lifecycle.Part{Name: name, Run: run, Grace: grace + stopReserve}
}
