// Package redistest gives each test a real Redis server of its own.
package redistest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const startTimeout = 10 * time.Second

// New starts a Redis server and returns a client of it; both end with the test.
// Without redis-server the test is skipped, or fails when CI=true.
func New(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: start(tb)})
	tb.Cleanup(func() { _ = client.Close() }) // tests may close it first, to see a lost Redis
	return client
}

// Down returns a client whose server does not exist.
func Down(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(tb.TempDir(), "none.sock"), MaxRetries: -1, DialerRetries: 1})
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func start(tb testing.TB) string {
	tb.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("redistest: %v", err)
		}
		tb.Skip("redistest: no redis-server: install the package redis-server")
	}
	dir, err := os.MkdirTemp("", "redistest") // a test's TempDir may be too long for a socket
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.CommandContext(context.Background(), bin, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir) //nolint:gosec // a found binary
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	await(tb, socket)
	return socket
}

func await(tb testing.TB, socket string) {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-ctx.Done():
			tb.Fatalf("redistest: no answer within %v", startTimeout)
		case <-tick.C:
		}
	}
}
