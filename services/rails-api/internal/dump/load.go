package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
)

// aside is the schema in which a database is built, beside the one in use.
const aside = "gitsplit_restore"

// Load fills a database beside the one in use. Nobody sees its rows until Commit, which puts it in place of the other in one step.
type Load struct {
	// Pool works on the new database.
	Pool   *pgxpool.Pool
	schema Schema
	tables []Table
	keys   []string // statements that make the foreign keys again
	live   string   // schema that is in use
}

// Begin makes the tables of a dump, empty, and makes them ready to be filled in any order. A dump of a newer version than this program's is
// errs.FailedPrecondition. The caller closes it.
func Begin(ctx context.Context, url string, schema Schema) (_ *Load, err error) {
	if err := Supported(schema.Versions); err != nil {
		return nil, err
	}
	pool, err := postgres.Open(ctx, url, postgres.Options{Name: "restore", MaxConns: 3, Schema: aside, Patient: true})
	if err != nil {
		return nil, err
	}
	l := &Load{Pool: pool, schema: schema}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close(context.WithoutCancel(ctx)))
		}
	}()
	var given []Sequence
	if l.live, given, err = liveSchema(ctx, url); err != nil {
		return nil, err
	}
	// An id that was given since the dump is not given again: what lies under it, a repository for one, is another's.
	l.schema.Sequences = append(slices.Clone(schema.Sequences), given...)
	for _, sql := range []string{"DROP SCHEMA IF EXISTS " + aside + " CASCADE", "CREATE SCHEMA " + aside} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return nil, postgres.Error(fmt.Errorf("make room for the database: %w", err), "database")
		}
	}
	if err := postgres.MigrateTo(ctx, pool, schema.Versions); err != nil {
		return nil, err
	}
	if l.tables, err = tables(ctx, pool); err != nil {
		return nil, err
	}
	return l, l.loosen(ctx)
}

// Supported reports whether this program can restore rows of the versions; errs.FailedPrecondition says that it cannot.
func Supported(v postgres.Versions) error {
	newest, err := postgres.Newest()
	if err != nil {
		return err
	}
	if newest.Before(v) {
		return errs.Newf(errs.FailedPrecondition, "the backup is from a newer gitsplit: its database has version %v, this one knows %v", v, newest)
	}
	return nil
}

// liveSchema is where the program's own tables are.
func liveSchema(ctx context.Context, url string) (name string, given []Sequence, err error) {
	pool, err := postgres.Open(ctx, url, postgres.Options{Name: "restore", MaxConns: 1})
	if err != nil {
		return "", nil, err
	}
	defer pool.Close()
	name, err = postgres.One(ctx, pool, "schema", pgx.RowTo[string], "SELECT coalesce(current_schema(), 'public')::text")
	if err != nil {
		return "", nil, err
	}
	given, err = postgres.All(ctx, pool, "sequence", pgx.RowToStructByPos[Sequence], listSequences)
	return name, given, err
}

// listKeys are the statements that drop each foreign key, and make it again.
const listKeys = `
	SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', r.relname, k.conname),
		format('ALTER TABLE %I ADD CONSTRAINT %I %s', r.relname, k.conname, pg_get_constraintdef(k.oid))
	FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
	WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace ORDER BY r.relname, k.conname`

// loosen takes away what would ask for an order of the tables, or act on their rows a second time, and the rows that migrations made.
func (l *Load) loosen(ctx context.Context) error {
	type key struct{ Drop, Add string }
	keys, err := postgres.All(ctx, l.Pool, "constraint", pgx.RowToStructByPos[key], listKeys)
	if err != nil {
		return err
	}
	var sql []string
	for _, k := range keys {
		sql, l.keys = append(sql, k.Drop), append(l.keys, k.Add)
	}
	for _, t := range l.tables {
		name := pgx.Identifier{t.Name}.Sanitize()
		sql = append(sql, "ALTER TABLE "+name+" DISABLE TRIGGER USER", "TRUNCATE "+name)
	}
	return l.exec(ctx, sql)
}

func (l *Load) exec(ctx context.Context, statements []string) error {
	return pgx.BeginFunc(ctx, l.Pool, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
}

// Fill copies rows into a table of the dump.
func (l *Load) Fill(ctx context.Context, name string, r io.Reader) error {
	return l.fill(ctx, name, name, r)
}

// fill copies rows of a table of the dump into a table with the same columns.
func (l *Load) fill(ctx context.Context, name, into string, r io.Reader) error {
	i := slices.IndexFunc(l.schema.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 || !slices.ContainsFunc(l.tables, func(t Table) bool { return t.Name == name }) {
		return errs.Newf(errs.Invalid, "the backup has rows of a table %q, which its version of the database has not", name)
	}
	t := l.schema.Tables[i]
	conn, err := l.Pool.Acquire(ctx)
	if err != nil {
		return postgres.Error(err, "database")
	}
	defer conn.Release()
	t.Name = into
	if _, err := conn.Conn().PgConn().CopyFrom(ctx, r, "COPY "+t.quoted()+" FROM STDIN"); err != nil {
		return fmt.Errorf("fill table %q: %w", name, err)
	}
	return nil
}

// Add adds those rows of a table whose unique values are not there yet, and that satisfy where, a condition on n: what came after the
// snapshot.
func (l *Load) Add(ctx context.Context, name, where string, r io.Reader) error {
	late := pgx.Identifier{"late_" + name}.Sanitize()
	table := pgx.Identifier{name}.Sanitize()
	if err := l.exec(ctx, []string{"DROP TABLE IF EXISTS " + late, "CREATE TABLE " + late + " (LIKE " + table + ")"}); err != nil {
		return err
	}
	if err := l.fill(ctx, name, "late_"+name, r); err != nil {
		return err
	}
	return l.exec(ctx, []string{
		"INSERT INTO " + table + " SELECT n.* FROM " + late + " n WHERE " + where + " ON CONFLICT DO NOTHING", "DROP TABLE " + late,
	})
}

// Advance makes sequences go on where they stood later than in the dump.
func (l *Load) Advance(later []Sequence) { l.schema.Sequences = append(l.schema.Sequences, later...) }

// Tighten gives the tables back what loosen took, so that rows that contradict each other are found; sequences go on where they stood, and
// jobs that were at work are done again.
func (l *Load) Tighten(ctx context.Context) error {
	var sql []string
	for _, t := range l.tables {
		sql = append(sql, "ALTER TABLE "+pgx.Identifier{t.Name}.Sanitize()+" ENABLE TRIGGER USER")
	}
	sql = append(sql, l.keys...)
	sql = append(sql, "UPDATE river_job SET state = 'available' WHERE state = 'running'")
	if err := l.exec(ctx, sql); err != nil {
		return errs.Wrap(errs.Invalid, "the rows of the backup contradict each other", err)
	}
	for _, s := range l.schema.Sequences {
		if s.Last < 1 {
			continue
		}
		if _, err := l.Pool.Exec(ctx, "SELECT setval(c, greatest($2, nextval(c))) FROM to_regclass($1) c WHERE c IS NOT NULL", pgx.Identifier{s.Name}.Sanitize(), s.Last); err != nil {
			return fmt.Errorf("sequence %q: %w", s.Name, err)
		}
	}
	return postgres.Migrate(ctx, l.Pool)
}

// Commit puts the database in place of the one in use, whose rows are gone then.
func (l *Load) Commit(ctx context.Context) error {
	live := pgx.Identifier{l.live}.Sanitize()
	err := l.exec(ctx, []string{"DROP SCHEMA IF EXISTS " + live + " CASCADE", "ALTER SCHEMA " + aside + " RENAME TO " + live})
	if err != nil {
		return fmt.Errorf("put the database in place: %w", err)
	}
	return nil
}

// Close removes what was not committed.
func (l *Load) Close(ctx context.Context) error {
	_, err := l.Pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+aside+" CASCADE")
	l.Pool.Close()
	if err != nil {
		return fmt.Errorf("clear what was not restored: %w", err)
	}
	return nil
}
