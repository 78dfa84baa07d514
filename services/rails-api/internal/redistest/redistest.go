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
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = os.RemoveAll(dir)
	})
	await(tb, socket, ended)
	return socket
}

// await polls until the server answers: Redis tells nobody when it is ready, and a busy
// machine may take its time.
func await(tb testing.TB, socket string, ended <-chan struct{}) {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(tb.Context()).Err() != nil {
		select {
		case <-ended:
			tb.Fatal("redistest: redis-server has ended")
		case <-tick.C:
		}
	}
}
