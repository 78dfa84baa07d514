// Package postgres opens the database and keeps its schema: the pool with the
// limits every statement runs under, the embedded migrations, and the one place
// where constraint names become error kinds. The SQL itself stands with the
// packages whose rows it reads.
package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DBTX is what a store needs of the database; pools and transactions both offer
// it, and Begin on a transaction is a savepoint.
type DBTX interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Begin(ctx context.Context) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Page is one window of a list.
type Page struct {
	Limit, Offset int
}

// defaultLimit is the length of a page whose Limit is not set.
const defaultLimit = 20

// Size returns the number of rows to read, never less than one.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return p.Limit
}

// Limits of security-baseline Q2, as session settings of each connection.
const (
	statementTimeout  = "15s"
	lockTimeout       = "5s"
	idleInTransaction = "60s"
	connectTimeout    = 3 * time.Second
)

// Options bounds the pool.
type Options struct {
	MaxConns int32  // 0: 10
	Name     string // application_name, seen in pg_stat_activity
	Schema   string // where tables are made and looked for; "": the usual one
	Patient  bool   // statements may take their time, transactions may wait: for copies of everything
}

// Open returns a pool for the URL. It does not connect: the database may come
// later, and until then calls fail with errs.Unavailable.
func Open(ctx context.Context, url string, o Options) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.MaxConns = 10
	if o.MaxConns > 0 {
		cfg.MaxConns = o.MaxConns
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = o.Name
	params["timezone"] = "UTC"
	params["statement_timeout"] = statementTimeout
	params["lock_timeout"] = lockTimeout
	params["idle_in_transaction_session_timeout"] = idleInTransaction
	if o.Schema != "" {
		params["search_path"] = o.Schema
	}
	if o.Patient {
		params["statement_timeout"], params["idle_in_transaction_session_timeout"] = "0", "0"
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return pool, nil
}
