package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
)

// One runs a query that finds one row. No row is errs.NotFound about what.
func One[T any](ctx context.Context, db DBTX, what string, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	var none T
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return none, Error(err, what)
	}
	v, err := pgx.CollectExactlyOneRow(rows, scan)
	if err != nil {
		return none, Error(err, what)
	}
	return v, nil
}

// All runs a query and returns its rows, never nil.
func All[T any](ctx context.Context, db DBTX, what string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, Error(err, what)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, Error(err, what)
	}
	return list, nil
}

// Exec runs a statement that must touch at least one row; none is errs.NotFound.
func Exec(ctx context.Context, db DBTX, what, sql string, args ...any) error {
	tag, err := db.Exec(ctx, sql, args...)
	if err != nil {
		return Error(err, what)
	}
	if tag.RowsAffected() == 0 {
		return errs.New(errs.NotFound, what+" not found")
	}
	return nil
}

// Listing is a query whose rows are read page by page. Its parts are constants
// of the caller; values go into the arguments.
type Listing[T any] struct {
	What    string
	Columns string // "u.id, u.name"
	From    string // "FROM users u WHERE …", with $1… for the arguments
	OrderBy string // "u.id DESC", total, so that pages do not overlap
	Scan    pgx.RowToFunc[T]
}

// Page returns one page of the list and the number of rows in all of it.
func (l Listing[T]) Page(ctx context.Context, db DBTX, p Page, args ...any) ([]T, int, error) {
	var total int
	if err := db.QueryRow(ctx, "SELECT count(*) "+l.From, args...).Scan(&total); err != nil {
		return nil, 0, Error(err, l.What)
	}
	sql := fmt.Sprintf("SELECT %s %s ORDER BY %s LIMIT $%d OFFSET $%d", l.Columns, l.From, l.OrderBy, len(args)+1, len(args)+2)
	list, err := All(ctx, db, l.What, l.Scan, sql, append(args, p.Size(), max(p.Offset, 0))...)
	return list, total, err
}

// Direction returns the SQL word of a sort direction.
func Direction(asc bool) string {
	if asc {
		return "ASC"
	}
	return "DESC"
}
