// Package repomove moves repositories from one storage to another while people work with them.
//
// A move copies first, while pushes go on, then holds pushes, waits for those in flight, copies what they brought, compares both copies,
// and says in one transaction where the repository lies from then on. The copy before is removed later, when nobody reads it any more.
//
// Whatever dies on the way: the hold on pushes passes by itself, and the move's row has another process begin again. Each move has a
// path of its own at its target, so nothing that is late, a push or a removal, can mean the wrong copy. An attempt gets another path unless
// the one before is known to have ended: a mover that lost its connection to the database, or a storage server that was not heard any
// more, goes on writing where nobody will look, and whoever finds the move's path to be another one leaves its row alone. What is written here is in
// PostgreSQL only; gitaly makes the copies itself (wire/gitaly.md, ReplicateRepository).
package repomove

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// States of a move.
const (
	Scheduled = "scheduled" // waits for its first or next attempt
	Copying   = "copying"   // pushes go on
	Switching = "switching" // pushes are held
	Finished  = "finished"
	Failed    = "failed" // given up; the repository is where it was
)

// Move is one move.
type Move struct {
	ID, ProjectID                int64
	SourceStorage, SourcePath    string
	TargetStorage, TargetPath    string
	State                        string
	Attempts                     int
	Note                         string // what went wrong last
	ReadOnly                     time.Duration
	CreatedAt, UpdatedAt, NextAt time.Time
}

// Ended reports whether nothing will happen to it any more.
func (m Move) Ended() bool { return m.State == Finished || m.State == Failed }

const (
	columns = `id, project_id, source_storage, source_path, target_storage, target_path, state, attempts, note, read_only_ms,
		created_at, updated_at, next_attempt_at`
	what = "move"
)

func scan(row pgx.CollectableRow) (Move, error) {
	var m Move
	var ms int64
	err := row.Scan(&m.ID, &m.ProjectID, &m.SourceStorage, &m.SourcePath, &m.TargetStorage, &m.TargetPath, &m.State, &m.Attempts, &m.Note, &ms,
		&m.CreatedAt, &m.UpdatedAt, &m.NextAt)
	m.ReadOnly = time.Duration(ms) * time.Millisecond
	return m, err
}

// Jobs inserts jobs; River's client does.
type Jobs interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// nextNumber is a number that no other move has, nor any other target of one.
const nextNumber = "SELECT nextval(pg_get_serial_sequence('repository_moves', 'id'))"

// Request asks for a move of a project to a storage, which the caller knows to be there. It is errs.Conflict when it is there already
// or another move is under way.
func Request(ctx context.Context, db postgres.DBTX, j Jobs, p project.Project, storage string) (m Move, err error) {
	if p.Storage == storage {
		return m, errs.Newf(errs.Conflict, "%s is on storage %q already", p.FullPath, storage)
	}
	const insert = `INSERT INTO repository_moves (id, project_id, source_storage, source_path, target_storage, target_path)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project_id) WHERE state NOT IN ('finished', 'failed') DO NOTHING RETURNING ` + columns
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, nextNumber).Scan(&id); err != nil {
			return err
		}
		m, err = postgres.One(ctx, tx, what, scan, insert, id, p.ID, p.Storage, p.DiskPath, storage, project.MovedPath(p.ID, id))
		if errs.KindOf(err) == errs.NotFound {
			return errs.Newf(errs.Conflict, "%s is being moved already", p.FullPath)
		}
		if err == nil {
			_, err = j.InsertTx(ctx, tx, jobs.MoveRepositories{}, nil)
		}
		return err
	})
	return m, postgres.Error(err, what)
}

// ByID returns a move.
func ByID(ctx context.Context, db postgres.DBTX, id int64) (Move, error) {
	return postgres.One(ctx, db, what, scan, "SELECT "+columns+" FROM repository_moves WHERE id = $1", id)
}

// List returns the moves that have not ended, and the last ones that have, newest first.
func List(ctx context.Context, db postgres.DBTX, limit int) ([]Move, error) {
	const query = "SELECT " + columns + " FROM repository_moves ORDER BY state NOT IN ('finished', 'failed') DESC, id DESC LIMIT $1"
	return postgres.All(ctx, db, what, scan, query, limit)
}

// Gitaly is what moves ask of the storage servers; gitaly.Client does.
type Gitaly interface {
	Replicate(ctx context.Context, from, to project.Project) error
	Checksum(ctx context.Context, p project.Project) (string, error)
	SetDefaultBranch(ctx context.Context, p project.Project, branch string) error
	Remove(ctx context.Context, storage, path string) error
}

// Pushes tells how many pushes are in flight, and for how long it has known of all that began; counter.Counter does.
type Pushes interface {
	InFlight(ctx context.Context, glRepository string) (int64, error)
	Age(ctx context.Context) (time.Duration, error)
}

// Deps is what a Mover works with; every field is needed.
type Deps struct {
	DB     *pgxpool.Pool
	Gitaly Gitaly
	Pushes Pushes
	Jobs   Jobs
	Log    *slog.Logger
	Times  Times
}

// Times are the patience of a Mover.
type Times struct {
	Window time.Duration // longest time for which pushes are held
	Drain  time.Duration // of it, for pushes in flight
	Retry  time.Duration // before the second attempt; it grows from one to the next
	Keep   time.Duration // how long the copy before is kept for those who read it
}

// Usual are the times of an installation.
func Usual() Times {
	return Times{Window: 2 * time.Minute, Drain: 30 * time.Second, Retry: 5 * time.Second, Keep: time.Hour}
}

// Mover does moves. It is safe for concurrent use, in any number of processes.
type Mover struct{ Deps }

// New returns a Mover.
func New(d Deps) *Mover { return &Mover{d} }
