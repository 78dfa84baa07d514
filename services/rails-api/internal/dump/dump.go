// Package dump copies all rows of the database out and in again, through one connection each and with PostgreSQL's COPY: no program of
// PostgreSQL is needed, and no memory for the rows. Rows only: tables are made by the migrations of the version the rows are from, and
// later migrations change them as they would have changed them in place.
package dump

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/services/rails-api/internal/postgres"
)

// Schema says what a dump holds.
type Schema struct {
	Versions  postgres.Versions `json:"versions"`
	Tables    []Table           `json:"tables"`
	Sequences []Sequence        `json:"sequences"`
}

// Table is a table whose rows are copied, with the columns in the order of the copy.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
}

// Sequence is where a sequence stands.
type Sequence struct {
	Name string `json:"name"`
	Last int64  `json:"last"`
}

// Snapshot is the database at one moment, whatever others write meanwhile.
type Snapshot struct {
	pgx.Tx
	Schema Schema
	pool   *pgxpool.Pool
}

// Take begins a snapshot: a transaction that only reads. The caller closes it. url is the database's.
func Take(ctx context.Context, url string) (_ *Snapshot, err error) {
	pool, err := postgres.Open(ctx, url, postgres.Options{Name: "dump", MaxConns: 1, Patient: true})
	if err != nil {
		return nil, err
	}
	s := &Snapshot{pool: pool}
	defer func() {
		if err != nil {
			s.Close(ctx)
		}
	}()
	if s.Tx, err = pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return nil, postgres.Error(fmt.Errorf("begin snapshot: %w", err), "database")
	}
	if s.Schema.Versions, err = postgres.Present(ctx, s.Tx); err != nil {
		return nil, err
	}
	if s.Schema.Tables, err = tables(ctx, s.Tx); err != nil {
		return nil, err
	}
	s.Schema.Sequences, err = postgres.All(ctx, s.Tx, "sequence", pgx.RowToStructByPos[Sequence], listSequences)
	return s, err
}

// Close ends the snapshot.
func (s *Snapshot) Close(ctx context.Context) {
	if s.Tx != nil {
		_ = s.Rollback(ctx) // it only read
	}
	s.pool.Close()
}

// Copy writes the rows of a table, in COPY's text format.
func (s *Snapshot) Copy(ctx context.Context, t Table, w io.Writer) error {
	if _, err := s.Conn().PgConn().CopyTo(ctx, w, "COPY "+t.quoted()+" TO STDOUT"); err != nil {
		return fmt.Errorf("copy table %q: %w", t.Name, err)
	}
	return nil
}

// quoted is the table with its columns, as COPY wants them.
func (t Table) quoted() string {
	text := pgx.Identifier{t.Name}.Sanitize() + " ("
	for i, c := range t.Columns {
		if i > 0 {
			text += ", "
		}
		text += pgx.Identifier{c}.Sanitize()
	}
	return text + ")"
}

// listTables leaves out what migrations write themselves, and what River's processes tell each other while they run (UNLOGGED tables).
// Generated columns are computed again.
const listTables = `
	SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'p'
	AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
	AND c.relname NOT IN ('goose_db_version', 'river_migration', 'river_notification')
	GROUP BY c.relname ORDER BY c.relname`

// listSequences knows a sequence that never gave a number as one that stands before its first.
const listSequences = `
	SELECT sequencename::text, coalesce(last_value, start_value - increment_by) FROM pg_sequences WHERE schemaname = current_schema() ORDER BY 1`

func tables(ctx context.Context, db postgres.DBTX) ([]Table, error) {
	return postgres.All(ctx, db, "table", pgx.RowToStructByPos[Table], listTables)
}
