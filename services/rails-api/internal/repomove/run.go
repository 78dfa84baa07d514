package repomove

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// mostAttempts is after how many a move is given up; with the pauses between them this takes over half an hour, and a push that died
// without a word is forgotten after ten minutes.
const mostAttempts = 40

// Run attempts the moves that are due, one after the other, until none is. What fails is attempted again later.
func (m *Mover) Run(ctx context.Context) error {
	list, err := postgres.All(ctx, m.DB, what, scan, "SELECT "+columns+" FROM repository_moves WHERE "+dueMove+" ORDER BY id LIMIT 100")
	for _, move := range list {
		if err == nil {
			err = m.alone(ctx, move.ID)
		}
	}
	return err
}

// dueMove is the condition of a move that is to be attempted.
const dueMove = "state NOT IN ('finished', 'failed') AND next_attempt_at <= clock_timestamp()"

// alone attempts a move that nobody else attempts now. The lock is that of a connection of its own, which ends with this process; one of
// the pool would be missing there for hours.
func (m *Mover) alone(ctx context.Context, id int64) error {
	conn, err := pgx.ConnectConfig(ctx, m.DB.Config().ConnConfig)
	if err != nil {
		return postgres.Error(err, what)
	}
	defer unlock(context.WithoutCancel(ctx), conn)
	const lock = 0x6d6f7665 // "move", of all advisory locks
	var locked bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::int, ($2::bigint % 2147483647)::int)", lock, id).Scan(&locked)
	if err != nil || !locked {
		return postgres.Error(err, what)
	}
	move, err := postgres.One(ctx, m.DB, what, scan, "SELECT "+columns+" FROM repository_moves WHERE id = $1 AND "+dueMove, id)
	if errs.KindOf(err) == errs.NotFound { // done while this one asked for the lock
		return nil
	}
	if err == nil && move.State != Scheduled { // its mover died, or lost the lock and does not know
		err = m.elsewhere(ctx, m.DB, &move)
	}
	if err != nil {
		return err
	}
	return m.attempt(ctx, move)
}

// unlock closes the connection, which would unlock too, but some time later.
func unlock(ctx context.Context, conn *pgx.Conn) {
	const limit = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // PostgreSQL does it if this fails
	_ = conn.Close(ctx)
}

// errTaken says that another mover has taken a move up and gave it another target.
var errTaken = errors.New("another mover has taken this move up")

// note changes the row of a move, unless that has another target by now: then whoever asks is none of its mover any more (errTaken).
func (m Move) note(ctx context.Context, db postgres.DBTX, set string, args ...any) error {
	sql := "UPDATE repository_moves SET " + set + ", updated_at = now() WHERE id = $1 AND target_path = $2"
	err := postgres.Exec(ctx, db, what, sql, append([]any{m.ID, m.TargetPath}, args...)...)
	if errs.KindOf(err) == errs.NotFound {
		return errTaken
	}
	return err
}

// elsewhere gives a move another target path, since a mover or a storage server may still be writing to the one it has. That is removed
// when this has surely ended.
func (m *Mover) elsewhere(ctx context.Context, db postgres.DBTX, move *Move) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var n int64
		if err := tx.QueryRow(ctx, nextNumber).Scan(&n); err != nil {
			return postgres.Error(err, what)
		}
		path := project.MovedPath(move.ProjectID, n)
		if err := move.note(ctx, tx, "target_path = $3", path); err != nil {
			return err
		}
		if err := m.removeLater(ctx, tx, jobs.RemoveCopy{Storage: move.TargetStorage, Path: move.TargetPath}); err != nil {
			return err
		}
		move.TargetPath = path
		return nil
	})
}

func (m *Mover) removeLater(ctx context.Context, tx pgx.Tx, c jobs.RemoveCopy) error {
	_, err := m.Jobs.InsertTx(ctx, tx, c, &river.InsertOpts{ScheduledAt: time.Now().Add(m.Times.Keep)})
	return err
}

// attempt does a move or notes why not. Its own error is that it could not even note that.
func (m *Mover) attempt(ctx context.Context, move Move) error {
	err := m.try(ctx, move)
	if errors.Is(err, errTaken) {
		m.Log.WarnContext(ctx, "move of a repository left to another mover", slog.Int64("move_id", move.ID))
		return nil
	}
	return err
}

func (m *Mover) try(ctx context.Context, move Move) error {
	err := m.move(ctx, move)
	attrs := []any{slog.Int64("move_id", move.ID), slog.Int64("project_id", move.ProjectID), slog.String("storage", move.TargetStorage)}
	if err == nil {
		m.Log.InfoContext(ctx, "repository moved", attrs...)
		return nil
	}
	attrs = append(attrs, slog.Any(logging.KeyError, err))
	if ctx.Err() != nil { // the process ends; another goes on
		m.Log.WarnContext(ctx, "move of a repository interrupted", attrs...)
		return ctx.Err()
	}
	if kind := errs.KindOf(err); kind == errs.Invalid || kind == errs.NotFound || move.Attempts+1 >= mostAttempts {
		m.Log.ErrorContext(ctx, "move of a repository given up", attrs...)
		return m.giveUp(ctx, move, err)
	}
	m.Log.WarnContext(ctx, "move of a repository did not succeed, will be tried again", attrs...)
	return m.again(ctx, move, err)
}

// again has a move attempted once more, with another target if it is not known that nobody writes to this one any more.
func (m *Mover) again(ctx context.Context, move Move, cause error) error {
	const set = "state = 'scheduled', attempts = attempts + 1, note = $3, next_attempt_at = clock_timestamp() + $4"
	const slowest = 12
	pause := m.Times.Retry * time.Duration(min(move.Attempts+1, slowest))
	err := pgx.BeginFunc(ctx, m.DB, func(tx pgx.Tx) error {
		if err := move.note(ctx, tx, set, noted(cause), pause); err != nil {
			return err
		}
		if t, ok := errors.AsType[transient](cause); !ok || !t.copying {
			return nil
		}
		return m.elsewhere(ctx, tx, &move)
	})
	return postgres.Error(err, what)
}

// noted is an error for the operator's eyes.
func noted(err error) string {
	const longest = 500
	text := []rune(err.Error())
	return string(text[:min(len(text), longest)])
}

// giveUp ends a move that failed, and has a job remove what it left at its target.
func (m *Mover) giveUp(ctx context.Context, move Move, cause error) error {
	err := pgx.BeginFunc(ctx, m.DB, func(tx pgx.Tx) error {
		if err := move.note(ctx, tx, "state = 'failed', attempts = attempts + 1, note = $3", noted(cause)); err != nil {
			return err
		}
		_, err := m.Jobs.InsertTx(ctx, tx, jobs.RemoveCopy{Storage: move.TargetStorage, Path: move.TargetPath}, nil)
		return err
	})
	return postgres.Error(err, what)
}

func (m *Mover) move(ctx context.Context, move Move) error {
	p, err := project.New(m.DB).ByID(ctx, move.ProjectID)
	if errs.KindOf(err) == errs.NotFound {
		return errs.Wrap(errs.Invalid, "the project is gone", err)
	}
	if err != nil {
		return err
	}
	if p.Storage != move.SourceStorage || p.DiskPath != move.SourcePath {
		return errs.New(errs.Invalid, "the repository lies elsewhere by now")
	}
	if err := move.note(ctx, m.DB, "state = $3", Copying); err != nil {
		return err
	}
	target := p
	target.Storage, target.DiskPath = move.TargetStorage, move.TargetPath
	for range 2 { // the second brings what was pushed during the first, so that the last has little to do
		if err := m.copy(ctx, p, target); err != nil {
			return err
		}
	}
	if err := move.note(ctx, m.DB, "state = $3", Switching); err != nil {
		return err
	}
	if err := m.switchOver(ctx, move, p, target); err != nil {
		return err
	}
	m.settleHEAD(ctx, target)
	return nil
}

// transient is an error after which a move is attempted again, whatever its cause says: what is not there now may come back.
type transient struct {
	error
	copying bool // the storage server may not know yet that it is to end
}

func (m *Mover) copy(ctx context.Context, p, target project.Project) error {
	if err := m.Gitaly.Replicate(ctx, p, target); err != nil {
		return transient{err, true}
	}
	return nil
}

// switchOver is the time in which pushes are held.
func (m *Mover) switchOver(ctx context.Context, move Move, p, target project.Project) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, m.Times.Window)
	defer cancel()
	until, err := project.New(m.DB).HoldPushes(ctx, p, m.Times.Window)
	if !until.IsZero() {
		defer func() { m.release(ctx, p.ID, until) }()
	}
	if errs.KindOf(err) == errs.NotFound {
		return errs.Wrap(errs.Invalid, "the project is gone", err)
	}
	if err == nil {
		err = m.drain(ctx, p.GLRepository())
	}
	if err == nil {
		err = m.remembered(ctx, p)
	}
	if err != nil {
		return transient{error: err}
	}
	if err := m.copy(ctx, p, target); err != nil {
		return err
	}
	sum, err := m.compare(ctx, p, target)
	if err != nil {
		return transient{error: err}
	}
	err = pgx.BeginFunc(ctx, m.DB, func(tx pgx.Tx) error {
		if err := project.New(tx).Relocate(ctx, p, target.Storage, target.DiskPath, until); err != nil {
			return fmt.Errorf("the hold on pushes has ended, or the project is gone: %w", err)
		}
		if err := move.note(ctx, tx, "state = 'finished', note = '', read_only_ms = $3", time.Since(began).Milliseconds()); err != nil {
			return err
		}
		return m.removeLater(ctx, tx, jobs.RemoveCopy{Storage: p.Storage, Path: p.DiskPath, Checksum: sum})
	})
	if err != nil {
		return transient{error: err}
	}
	return nil
}

// release ends a hold even when the process is asked to end; else it passes by itself.
func (m *Mover) release(ctx context.Context, id int64, until time.Time) {
	const limit = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := project.New(m.DB).ReleasePushes(ctx, id, until); err != nil {
		m.Log.WarnContext(ctx, "pushes are held until the hold passes", slog.Int64("project_id", id), slog.Any(logging.KeyError, err))
	}
}

// drain waits until no push is in flight.
func (m *Mover) drain(ctx context.Context, glRepository string) error {
	const every = 50 * time.Millisecond
	enough := time.NewTimer(m.Times.Drain)
	defer enough.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		n, err := m.Pushes.InFlight(ctx, glRepository)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-enough.C:
			return fmt.Errorf("%d pushes are in flight and did not end in %v", n, m.Times.Drain)
		case <-tick.C:
		}
	}
}

// remembered makes sure that no push is in flight that was counted and forgotten: Redis may have been started again since, without what it
// knew. It comes after drain: what begins meanwhile is refused, and a Redis that was started in between is a young one.
func (m *Mover) remembered(ctx context.Context, p project.Project) error {
	age, err := m.Pushes.Age(ctx)
	if err != nil || age >= project.UncountedFor {
		return err
	}
	older, err := project.New(m.DB).Older(ctx, p.ID, age)
	if err == nil && older {
		err = fmt.Errorf("redis was started %v ago and may have forgotten a push, which may go on for ten minutes", age)
	}
	return err
}

// compare makes sure that the copy has the references of the original, and returns their checksum.
func (m *Mover) compare(ctx context.Context, p, target project.Project) (string, error) {
	want, err := m.Gitaly.Checksum(ctx, p)
	if err != nil {
		return "", err
	}
	got, err := m.Gitaly.Checksum(ctx, target)
	if err == nil && got != want {
		err = fmt.Errorf("the copy has checksum %s, the original %s", got, want)
	}
	return want, err
}

// settleHEAD brings over a default branch that was set while the repository was switched, which the copy may have missed. The next push
// would do it too.
func (m *Mover) settleHEAD(ctx context.Context, target project.Project) {
	p, err := project.New(m.DB).ByID(ctx, target.ID)
	if err == nil && !p.EmptyRepo {
		err = m.Gitaly.SetDefaultBranch(ctx, p, p.DefaultBranch)
	}
	if err != nil {
		m.Log.WarnContext(ctx, "HEAD of a moved repository not set", slog.Int64("project_id", target.ID), slog.Any(logging.KeyError, err))
	}
}

// Remove removes a copy of a repository, unless a project's repository lies there. One whose references are not those that it had when
// the repository moved away is kept, and is an error: somebody wrote there who should not have.
func (m *Mover) Remove(ctx context.Context, c jobs.RemoveCopy) error {
	there, err := project.New(m.DB).LiesAt(ctx, c.Storage, c.Path)
	if err != nil {
		return err
	}
	if there {
		return fmt.Errorf("a project's repository lies at %s on storage %q: not removed", c.Path, c.Storage)
	}
	if c.Checksum != "" {
		sum, err := m.Gitaly.Checksum(ctx, project.Project{Storage: c.Storage, DiskPath: c.Path})
		if errs.KindOf(err) == errs.NotFound {
			return nil
		}
		if err == nil && sum != c.Checksum {
			err = fmt.Errorf("the copy at %s on storage %q has checksum %s, and had %s when its repository moved away: not removed", c.Path, c.Storage, sum, c.Checksum)
		}
		if err != nil {
			return err
		}
	}
	return m.Gitaly.Remove(ctx, c.Storage, c.Path)
}
