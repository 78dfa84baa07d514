package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/lifecycle"
	"gitsplit/kit/logging"
	"gitsplit/kit/netx"
	"gitsplit/kit/probe"
	"gitsplit/services/rails-api/internal/postgres"
)

// serve runs rails-api. The parts start in this order and stop in the opposite
// one: probes answer while the database is waited for, and until the last.
func (b *base) serve(ctx context.Context) error {
	health, chain := b.health()
	handler, err := b.handler(chain)
	if err != nil {
		return err
	}
	parts, err := b.probeParts(b.cfg.ProbeListen, health, chain)
	if err != nil {
		return err
	}
	public := lifecycle.Part{Name: "api", Grace: b.cfg.ShutdownGrace.D() + time.Second, Run: func(ctx context.Context, ready func()) error {
		ln, err := netx.Listen(b.cfg.Listen)
		if err != nil {
			return err
		}
		return lifecycle.HTTP("api", netx.HTTPServer(handler, b.log), ln, b.cfg.ShutdownGrace.D()).Run(ctx, ready)
	}}
	parts = append(parts, lifecycle.Part{Name: "database", Run: b.prepare}, public, b.readiness(health, chain))
	return lifecycle.Run(ctx, b.log, parts...)
}

// errStarting is what the checks report until every part has started.
var errStarting = errors.New("starting")

// readiness is the part that starts last and stops first: between the two the
// process may be ready.
func (b *base) readiness(sets ...*probe.Set) lifecycle.Part {
	return lifecycle.Part{Name: "readiness", Run: func(ctx context.Context, ready func()) error {
		b.started.Store(true)
		ready()
		<-ctx.Done()
		for _, s := range sets {
			s.Stop()
		}
		return nil
	}}
}

func (b *base) hasStarted(context.Context) error {
	if !b.started.Load() {
		return errStarting
	}
	return nil
}

// prepare waits for the database, migrates it and makes the first account.
func (b *base) prepare(ctx context.Context, ready func()) error {
	if err := b.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := b.seed(ctx); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	return nil
}

// migrate tries until the database is there, or nobody waits for it any more.
func (b *base) migrate(ctx context.Context) error {
	const pause = 500 * time.Millisecond
	timer := time.NewTicker(pause)
	defer timer.Stop()
	for {
		err := postgres.Migrate(ctx, b.db, b.beforeMigration)
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil
		}
		if errs.KindOf(err) != errs.Unavailable {
			return err
		}
		b.log.WarnContext(ctx, "waiting for the database", slog.Any(logging.KeyError, err))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// health returns the checks of this process, and those of the whole chain behind
// it, for which one storage has to answer.
func (b *base) health() (own, chain *probe.Set) {
	own, chain = probe.New(b.metrics), probe.New(b.metrics)
	for _, s := range []*probe.Set{own, chain} {
		s.Add("start", b.hasStarted)
		s.Add("database", b.db.Ping)
		s.AddOptional("redis", func(ctx context.Context) error { return b.redis.Ping(ctx).Err() })
	}
	for _, s := range b.gitaly.Storages() {
		own.AddOptional("gitaly "+s.Name, func(ctx context.Context) error { return b.gitaly.Alive(ctx, s.Name) })
	}
	chain.Add("gitaly", b.anyGitaly)
	return own, chain
}

func (b *base) anyGitaly(ctx context.Context) error {
	answers := make(chan error, len(b.gitaly.Storages()))
	for _, s := range b.gitaly.Storages() {
		go func() { answers <- b.gitaly.Alive(ctx, s.Name) }()
	}
	var err error
	for range b.gitaly.Storages() {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return err
}

// probeParts runs the checks and serves their outcome on a listener of its own.
func (b *base) probeParts(address string, own *probe.Set, more ...*probe.Set) ([]lifecycle.Part, error) {
	parts := []lifecycle.Part{}
	for _, s := range append([]*probe.Set{own}, more...) {
		parts = append(parts, lifecycle.Part{Name: "checks", Run: func(ctx context.Context, ready func()) error {
			ready()
			s.Run(ctx)
			return nil
		}})
	}
	if address == "" {
		return parts, nil
	}
	ln, err := netx.Listen(address)
	if err != nil {
		return nil, fmt.Errorf("probe listener: %w", err)
	}
	return append(parts, lifecycle.HTTP("probes", netx.HTTPServer(own.Handler(), b.log), ln, time.Second)), nil
}

// withoutPassword masks the passwords of a URL, before the host and in parameters.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" { // PostgreSQL takes key=value pairs too
		return "[FILTERED]"
	}
	query := u.Query()
	for key := range query {
		if strings.Contains(strings.ToLower(key), "pass") {
			query.Set(key, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}
