package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestMigrate_concurrently(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool, err := postgres.Open(ctx, pgtest.Empty(t, "concurrent"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var wg sync.WaitGroup
	faults := make([]error, 3)
	for i := range faults {
		wg.Go(func() { faults[i] = postgres.Migrate(ctx, pool) })
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatalf("three processes migrate at once: %v", err)
	}
	var jobs int
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM river_job").Scan(&jobs); err != nil {
		t.Fatalf("job table: %v", err)
	}
}

func TestOpen_limits(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for name, want := range map[string]string{
		"statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "1min", "timezone": "UTC",
	} {
		var got string
		if err := pool.QueryRow(context.Background(), "SELECT current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestOpen_badURL(t *testing.T) {
	t.Parallel()
	if _, err := postgres.Open(context.Background(), "postgres://%zz", postgres.Options{}); err == nil {
		t.Fatal("a malformed url was accepted")
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := pgtest.New(t)
	const insert = "INSERT INTO users (username, name, email) VALUES ($1, 'n', $2)"
	if _, err := pool.Exec(ctx, insert, "ada", "ada@example.com"); err != nil {
		t.Fatal(err)
	}
	_, duplicate := pool.Exec(ctx, insert, "ADA", "other@example.com")
	_, check := pool.Exec(ctx, insert, "", "third@example.com")
	_, nul := pool.Exec(ctx, insert, "a\x00b", "fourth@example.com")
	_, slow := pool.Exec(ctx, "SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)")
	for name, tc := range map[string]struct {
		err   error
		want  errs.Kind
		field string
	}{
		"unique ignores case":  {duplicate, errs.Exists, "username"},
		"check constraint":     {check, errs.Invalid, "username"},
		"nul byte":             {nul, errs.Invalid, ""},
		"no rows":              {pool.QueryRow(ctx, "SELECT 1 WHERE false").Scan(new(int)), errs.NotFound, ""},
		"statement takes long": {slow, errs.Unavailable, ""},
		"syntax error":         {pool.QueryRow(ctx, "SELEC").Scan(), errs.Internal, ""},
	} {
		got := postgres.Error(tc.err, "thing")
		if errs.KindOf(got) != tc.want {
			t.Errorf("%s: kind %v (%v), want %v", name, errs.KindOf(got), got, tc.want)
		}
		if fe, ok := errors.AsType[*postgres.FieldError](got); ok != (tc.field != "") || (ok && fe.Field != tc.field) {
			t.Errorf("%s: field error %v, want %q", name, fe, tc.field)
		}
	}
}

func TestError_serverGone(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(context.Background(), "postgres:///x?host="+t.TempDir(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	err = postgres.Error(pool.Ping(context.Background()), "x")
	if errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("kind %v (%v), want unavailable", errs.KindOf(err), err)
	}
}
