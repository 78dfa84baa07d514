package leftover_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/leftover"
	"gitsplit/services/gitaly/internal/storage"
)

func TestGuard_Outlive(t *testing.T) {
	t.Parallel()
	g, dir := leftover.NewGuard(slog.New(slog.DiscardHandler), time.Now), t.TempDir()
	if err := g.Outlive(t.Context(), dir); err != nil {
		t.Errorf("nobody there: %v", err)
	}
	leave := g.Enter(dir, gitcmd.RefTraces)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Outlive(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v while a writer lives", err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Outlive(t.Context(), dir) }()
	leave(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestGuard_suspended: what a repository borrows from comes back when its suspension
// belongs to nobody alive, and not before.
func TestGuard_suspended(t *testing.T) {
	t.Parallel()
	g, dir := leftover.NewGuard(slog.New(slog.DiscardHandler), time.Now), t.TempDir()
	path := filepath.Join(dir, storage.SuspendedFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	leave := g.Enter(dir, gitcmd.RefTraces)
	if err := os.WriteFile(path, []byte("../x"), 0o600); err != nil {
		t.Fatal(err)
	}
	killed := g.Enter(dir, gitcmd.RefTraces)
	killed(false)
	if _, err := os.Stat(path); err != nil {
		t.Errorf("taken back from the living: %v", err)
	}
	leave(true)
	if raw, err := os.ReadFile(filepath.Join(dir, "objects/info/alternates")); err != nil || string(raw) != "../x" {
		t.Errorf("alternates = %q, %v", raw, err)
	}
}
