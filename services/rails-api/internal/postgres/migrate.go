package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Before is called before a schema that holds data changes, under the lock of
// migrations; an error of it is the end.
type Before func(ctx context.Context, from, to Versions) error

// Migrate brings the schema to the version this program was built with: our own
// migrations, then River's tables for jobs. All of it runs under goose's session
// lock, so any number of processes may start at once. Each migration is a
// transaction: one that fails leaves the schema of the version before, with which
// the program before goes on. A schema that is newer than this program is left as
// it is.
func Migrate(ctx context.Context, pool *pgxpool.Pool, before ...Before) (err error) {
	files, err := embedded()
	if err != nil {
		return err
	}
	return migrate(ctx, pool, files, Versions{}, before...)
}

// MigrateTo is Migrate up to certain versions, on an empty schema.
func MigrateTo(ctx context.Context, pool *pgxpool.Pool, to Versions) error {
	files, err := embedded()
	if err != nil {
		return err
	}
	return migrate(ctx, pool, files, to)
}

func embedded() (fs.FS, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("embedded migrations: %w", err)
	}
	return files, nil
}

// migrate goes up to the versions, or with none as far as there are migrations.
func migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS, to Versions, before ...Before) (err error) {
	cfg := pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["statement_timeout"] = "0" // a migration may take its time
	cfg.RuntimeParams["lock_timeout"] = "60s"
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	own, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	jobs, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return fmt.Errorf("read job migrations: %w", err)
	}
	m := migrator{own, jobs}
	return locked(ctx, db, func() error {
		if err := m.prepare(ctx, pool, before); err != nil {
			return err
		}
		return m.up(ctx, to)
	})
}

// migrator is both kinds of migrations.
type migrator struct {
	own  *goose.Provider
	jobs *rivermigrate.Migrator[pgx.Tx]
}

func (m migrator) up(ctx context.Context, to Versions) (err error) {
	if to.Own > 0 {
		_, err = m.own.UpTo(ctx, to.Own)
	} else {
		_, err = m.own.Up(ctx)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var opts *rivermigrate.MigrateOpts
	if to.Jobs > 0 {
		opts = &rivermigrate.MigrateOpts{TargetVersion: to.Jobs}
	}
	if _, err := m.jobs.Migrate(ctx, rivermigrate.DirectionUp, opts); err != nil {
		return fmt.Errorf("migrate jobs: %w", err)
	}
	return nil
}

// prepare calls before, if there is something to change and something to lose.
func (m migrator) prepare(ctx context.Context, pool *pgxpool.Pool, before []Before) error {
	from, err := Present(ctx, pool)
	if err != nil {
		return err
	}
	to := m.newest()
	if from.Own == 0 || !from.Before(to) {
		return nil
	}
	for _, do := range before {
		if err := do(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (m migrator) newest() (v Versions) {
	for _, s := range m.own.ListSources() {
		v.Own = max(v.Own, s.Version)
	}
	for _, s := range m.jobs.AllVersions() {
		v.Jobs = max(v.Jobs, s.Version)
	}
	return v
}

// locked runs fn while this process holds the migration lock.
func locked(ctx context.Context, db *sql.DB, fn func() error) (err error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120), lock.WithUnlockTimeout(1, 10)) // every second
	if err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return Error(fmt.Errorf("connect for migrations: %w", err), "database")
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	defer func() { err = errors.Join(err, locker.SessionUnlock(context.WithoutCancel(ctx), conn)) }()
	return fn()
}
