package app

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/backup"
	"gitsplit/services/rails-api/internal/postgres"
)

// restore is `rails-api restore`.
func (b *base) restore(ctx context.Context, s Streams, args []string) error {
	var o backupFlags
	source, err := o.parse("restore", args)
	if err != nil || o.asked {
		_, _ = io.WriteString(s.Out, usageIf(o.asked))
		return err
	}
	d, err := b.backupDeps(o, s)
	if err != nil {
		return err
	}
	place, err := backup.FindPlace(source, time.Now())
	if err != nil {
		return err
	}
	if o.check {
		return backup.Check(ctx, d, place.Open)
	}
	if err := b.await(ctx, d.Tell); err != nil {
		return err
	}
	if err := b.alone(ctx); err != nil {
		return err
	}
	if err := backup.Restore(ctx, d, backup.RestoreOptions{Replace: o.replace, Database: o.database, Hooks: o.hooks}, place.Open); err != nil {
		return err
	}
	if o.next != "" {
		d.Tell("now start it: %s", o.next)
	}
	return nil
}

// startPatience is how long a restore waits for what may have been started with it.
const startPatience = time.Minute

// await waits until PostgreSQL and every gitaly answer.
func (b *base) await(ctx context.Context, tell func(format string, args ...any)) error {
	limited, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for told := false; ; told = true {
		err := b.answers(limited)
		if err == nil || errs.KindOf(err) != errs.Unavailable {
			return err
		}
		if !told {
			tell("waiting for PostgreSQL and gitaly")
		}
		select {
		case <-limited.Done():
			return err
		case <-retry.C:
		}
	}
}

func (b *base) answers(ctx context.Context) error {
	if err := b.db.Ping(ctx); err != nil {
		return postgres.Error(err, "database")
	}
	for _, s := range b.gitaly.Storages() {
		if err := b.gitaly.Alive(ctx, s.Name); err != nil {
			return err
		}
	}
	return nil
}

// alone reports whether nobody serves the database that is about to be another one.
func (b *base) alone(ctx context.Context) error {
	names, err := postgres.All(ctx, b.db, "session", pgx.RowTo[string], `
		SELECT DISTINCT application_name FROM pg_stat_activity
		WHERE datname = current_database() AND application_name IN ('rails-api', 'sidekiq') ORDER BY 1`)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return errs.Newf(errs.FailedPrecondition, "%s: at work on this database; stop everything but PostgreSQL and gitaly first", strings.Join(names, ", "))
	}
	return nil
}
