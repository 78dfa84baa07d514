package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
)

// breaking are changes that the program of the version before, which still runs or starts again after a failed upgrade, would not survive.
var breaking = map[string]*regexp.Regexp{
	"drops a table or column":           regexp.MustCompile(`(?is)\bDROP\s+(TABLE|COLUMN|SCHEMA|TYPE|VIEW)\b`),
	"renames":                           regexp.MustCompile(`(?is)\bRENAME\b`),
	"makes a column NOT NULL":           regexp.MustCompile(`(?is)\bSET\s+NOT\s+NULL\b`),
	"changes a column's type":           regexp.MustCompile(`(?is)\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b`),
	"runs outside of a transaction":     regexp.MustCompile(`(?i)\+goose\s+NO\s+TRANSACTION`),
	"adds a NOT NULL without a default": regexp.MustCompile(`(?i)\bADD\s+COLUMN\b[^,;]*\bNOT\s+NULL\b(?:[^,;]*)`),
}

// allowed are breaking changes that were thought through: what a file does, by its name, with the reason.
var allowed = map[string]string{}

// TestMigrations_additive holds migrations to the rule of upgrades: the schema of version N serves the program of version N-1.
func TestMigrations_additive(t *testing.T) {
	t.Parallel()
	files, err := postgres.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		text, err := fs.ReadFile(files, f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range faults(string(text)) {
			if allowed[f.Name()] == "" {
				t.Errorf("%s %s: add first, and take away one release later (CONTRIBUTING.md)", f.Name(), what)
			}
		}
	}
}

func faults(migration string) (list []string) {
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	for what, pattern := range breaking {
		for _, found := range pattern.FindAllString(up, -1) {
			if strings.Contains(what, "without a default") && strings.Contains(strings.ToUpper(found), "DEFAULT") {
				continue
			}
			list = append(list, what)
		}
	}
	return list
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"ALTER TABLE a ADD COLUMN b text":                                false,
		"ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT ''":            false,
		"CREATE TABLE a (b text NOT NULL)":                               false,
		"ALTER TABLE a ALTER COLUMN b DROP NOT NULL":                     false,
		"CREATE INDEX a ON b (c);\n-- +goose Down\nDROP TABLE x":         false,
		"ALTER TABLE a ADD COLUMN b text NOT NULL":                       true,
		"ALTER TABLE a\n DROP COLUMN b":                                  true,
		"DROP TABLE a":                                                   true,
		"ALTER TABLE a RENAME TO b":                                      true,
		"ALTER TABLE a ALTER b SET NOT NULL":                             true,
		"ALTER TABLE a ALTER COLUMN b TYPE bigint":                       true,
		"-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY a ON b (c)": true,
	} {
		if got := len(faults(sql)) > 0; got != want {
			t.Errorf("%s: %v", sql, faults(sql))
		}
	}
}

// with returns our migrations and one more.
func with(t *testing.T, name, text string) fs.FS {
	t.Helper()
	all := fstest.MapFS{name: {Data: []byte(text)}}
	files, err := postgres.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := fs.ReadFile(files, e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = &fstest.MapFile{Data: content}
	}
	return all
}

// TestMigrate_fails leaves the schema of the version before, which that program starts with; so does it with a newer schema.
func TestMigrate_fails(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := pgtest.New(t)
	was, err := postgres.Present(ctx, pool)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	before := func(_ context.Context, from, to postgres.Versions) error {
		asked++
		if from != was || to.Own != 99999 {
			t.Errorf("from %v to %v", from, to)
		}
		return nil
	}
	broken := with(t, "99999_broken.sql", "-- +goose Up\nCREATE TABLE half (id bigint);\nSELECT nonsense;\n")
	if err := postgres.MigrateFiles(ctx, pool, broken, postgres.Versions{}, before); err == nil || asked != 1 {
		t.Fatalf("a broken migration: %v, asked %d times", err, asked)
	}
	same(t, pool, was)
	refusal := errors.New("no room for a copy")
	good := with(t, "99999_good.sql", "-- +goose Up\nALTER TABLE users ADD COLUMN shoe_size integer;\n")
	if err := postgres.MigrateFiles(ctx, pool, good, postgres.Versions{}, func(context.Context, postgres.Versions, postgres.Versions) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("changed without a copy: %v", err)
	}
	same(t, pool, was)
	if err := postgres.MigrateFiles(ctx, pool, good, postgres.Versions{}, before); err != nil || asked != 2 {
		t.Fatalf("%v, asked %d times", err, asked)
	}
	if err := postgres.Migrate(ctx, pool, before); err != nil || asked != 2 {
		t.Errorf("the program before, with the newer schema: %v, asked %d times", err, asked)
	}
	same(t, pool, postgres.Versions{Own: 99999, Jobs: was.Jobs})
}

// same checks the version, and that this program can start with it.
func same(t *testing.T, pool *pgxpool.Pool, want postgres.Versions) {
	t.Helper()
	if err := postgres.Migrate(t.Context(), pool); err != nil {
		t.Errorf("this version does not start any more: %v", err)
	}
	if is, err := postgres.Present(t.Context(), pool); err != nil || is != want {
		t.Errorf("version %v, %v; want %v", is, err, want)
	}
	var there bool
	if err := pool.QueryRow(t.Context(), "SELECT to_regclass('half') IS NOT NULL").Scan(&there); err != nil || there {
		t.Errorf("half a migration is left: %v", err)
	}
}
