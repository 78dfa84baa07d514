package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitsplit/kit/lifecycle"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/worker"
)

// work runs sidekiq.
func (b *base) work(ctx context.Context) error {
	inserter, err := worker.Inserter(b.db, b.log)
	if err != nil {
		return err
	}
	repositories := projectrepo.New(b.db, b.gitaly, inserter, b.log, time.Now)
	jobs, err := worker.New(worker.Deps{
		Reconciler: b.reconciler(inserter),
		DB:         b.db, Gitaly: b.gitaly, Branches: branchcache.New(b.redis), Concurrency: b.cfg.SidekiqConcurrency, Log: b.log,
		Cleaner: repositories, Forks: repositories,
		Moves: b.mover(inserter),
		Files: b.files, LFSRemovalDelay: b.cfg.LFSRemovalDelay.D(), Now: time.Now,
	})
	if err != nil {
		return err
	}
	health, _ := b.health()
	parts, err := b.probeParts(b.cfg.SidekiqProbeListen, health)
	if err != nil {
		return err
	}
	grace := b.cfg.ShutdownGrace.D()
	parts = append(parts,
		lifecycle.Part{Name: "database", Run: b.prepareSchema},
		lifecycle.Part{Name: "jobs", Grace: 2*grace + time.Second, Run: func(ctx context.Context, ready func()) error {
			return doJobs(ctx, ready, jobs, grace)
		}},
		b.readiness(health))
	return lifecycle.Run(ctx, b.log, parts...)
}

// prepareSchema waits for the database and migrates it, as rails-api does.
func (b *base) prepareSchema(ctx context.Context, ready func()) error {
	if err := b.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	ready()
	<-ctx.Done()
	return nil
}

// doJobs works until ctx ends, lets the jobs at hand finish for the grace period
// and cancels the rest, which then run again later.
func doJobs(ctx context.Context, ready func(), jobs *river.Client[pgx.Tx], grace time.Duration) error {
	if err := jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	ready()
	<-ctx.Done()
	soft, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := jobs.Stop(soft)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	hard, cancelHard := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancelHard()
	return jobs.StopAndCancel(hard)
}
