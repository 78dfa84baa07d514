package postgres

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// Versions says how far a schema has come: our migrations, and River's.
type Versions struct {
	Own  int64 `json:"own"`
	Jobs int   `json:"jobs"`
}

// Before reports whether a schema of v lacks something of one of w.
func (v Versions) Before(w Versions) bool { return v.Own < w.Own || v.Jobs < w.Jobs }

// String returns "7 (jobs 6)".
func (v Versions) String() string { return fmt.Sprintf("%d (jobs %d)", v.Own, v.Jobs) }

// Newest returns the versions that this program was built with.
func Newest() (v Versions, err error) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return v, fmt.Errorf("embedded migrations: %w", err)
	}
	for _, f := range files {
		number, err := goose.NumericComponent(f.Name())
		if err != nil {
			return v, fmt.Errorf("embedded migrations: %w", err)
		}
		v.Own = max(v.Own, number)
	}
	jobs, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return v, fmt.Errorf("read job migrations: %w", err)
	}
	for _, m := range jobs.AllVersions() {
		v.Jobs = max(v.Jobs, m.Version)
	}
	return v, nil
}

// Present returns the versions of the database's schema; an empty database has none.
func Present(ctx context.Context, db DBTX) (v Versions, err error) {
	for table, read := range map[string]struct {
		query string
		into  any
	}{
		"goose_db_version": {"SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied", &v.Own},
		"river_migration":  {"SELECT coalesce(max(version), 0) FROM river_migration", &v.Jobs},
	} {
		var there bool
		if err := db.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&there); err != nil {
			return v, Error(fmt.Errorf("version of the schema: %w", err), "schema")
		}
		if !there {
			continue
		}
		if err := db.QueryRow(ctx, read.query).Scan(read.into); err != nil {
			return v, Error(fmt.Errorf("version of the schema: %w", err), "schema")
		}
	}
	return v, nil
}
