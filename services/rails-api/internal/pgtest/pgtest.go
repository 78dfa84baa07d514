// Package pgtest gives tests a real PostgreSQL: one throwaway server for each
// test binary, one migrated database for each test. A package that uses it calls
// Main from its TestMain.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/services/rails-api/internal/postgres"
)

// shared is the server of this test binary; it starts with the first test that asks.
var shared struct { //nolint:gochecknoglobals // a test binary has one server, and TestMain must reach it
	once   sync.Once
	server *server
	err    error
	mu     sync.Mutex
	n      int
}

// template is the migrated database every test's database is copied from.
const template = "gitsplit_template"

// Main runs the tests of a package, stops the server afterwards and fails when
// goroutines are left.
func Main(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if shared.server != nil {
		shared.server.stop()
	}
	if code == 0 && !settled(before) {
		fmt.Fprintln(os.Stderr, "pgtest: the tests left goroutines behind")
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// settled waits a while for the number of goroutines to fall to what it was.
func settled(before int) bool {
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

// New returns a pool on a fresh, migrated database; it is closed and dropped when
// the test ends. Without PostgreSQL binaries the test is skipped, or fails when CI=true.
func New(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	pool, err := postgres.Open(context.Background(), URL(tb), postgres.Options{Name: "test", MaxConns: 4})
	if err != nil {
		tb.Fatalf("pgtest: open pool: %v", err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// URL returns the URL of a fresh, migrated database.
func URL(tb testing.TB) string {
	tb.Helper()
	s := start(tb)
	shared.mu.Lock()
	defer shared.mu.Unlock() // PostgreSQL copies a template for one client at a time
	shared.n++
	name := fmt.Sprintf("test_%d", shared.n)
	if err := s.exec(context.Background(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		tb.Fatalf("pgtest: create database: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("pgtest: drop database: %v", err)
		}
	})
	return s.url(name)
}

// Empty returns the URL of a database without any table.
func Empty(tb testing.TB, name string) string {
	tb.Helper()
	s := start(tb)
	if err := s.exec(context.Background(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("pgtest: create database: %v", err)
	}
	return s.url(name)
}

func start(tb testing.TB) *server {
	tb.Helper()
	bin, err := binaries()
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("pgtest: %v", err)
		}
		tb.Skipf("pgtest: %v", err)
	}
	shared.once.Do(func() { shared.server, shared.err = newServer(bin) })
	if shared.err != nil {
		tb.Fatalf("pgtest: start PostgreSQL: %v", shared.err)
	}
	return shared.server
}

func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL in /usr/lib/postgresql: install the package postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func (s *server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	return err
}
