package app_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A push and a clone of much must leave gitaly small.
const (
	memoryPushed = 128 << 20
	memoryLimit  = 100 << 20
)

// process runs the program gitaly, without the race detector, as it is installed.
func (b *bundle) process(t *testing.T) (pid int) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w",
		"-o", dir, "./cmd/gitaly")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gitaly: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "gitaly.toml")
	err := os.WriteFile(file, fmt.Appendf(nil, `socket_path = %q
runtime_dir = %q
bin_dir = %q
[[storage]]
name = "default"
path = %q
[auth]
token = %q
[gitlab]
url = %q
secret = %q
`, b.cfg.SocketPath, b.cfg.RuntimeDir, b.cfg.BinDir, b.dir, secretText, b.cfg.GitLab.URL, secretText), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), filepath.Join(dir, "gitaly"), "serve", file)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("gitaly: %v\n%s", err, b.log)
		}
	})
	eventually(t, "gitaly listens", func() bool {
		_, err := os.Stat(strings.TrimPrefix(b.address, "unix:"))
		return err == nil
	})
	return cmd.Process.Pid
}

// peak is the most memory that a process has had resident, in bytes.
func peak(t testing.TB, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	var kib int
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatalf("read VmHWM: %v", err)
	}
	return kib << 10
}

// TestResident: gitaly's own memory does not grow with what passes through it.
func TestResident(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	pid := b.process(t)
	b.connect(t)
	b.create(t, rel)
	idle := peak(t, pid)
	c := b.client(t)
	c.git(t, "config", "core.compression", "0")
	c.git(t, "config", "core.bigFileThreshold", "1m")
	file, err := os.Create(filepath.Join(c.dir, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	for range memoryPushed >> 20 {
		if _, err := file.WriteString(random(1 << 20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	c.git(t, "add", "blob")
	c.git(t, "commit", "-q", "-m", "much")
	c.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main")
	c.git(t, "clone", "-q", "--bare", b.httpBridge(t)+"/"+rel, "copy")
	after := peak(t, pid)
	t.Logf("%d MiB at the start, %d MiB after a push and a clone of %d MiB", idle>>20, after>>20, memoryPushed>>20)
	if after > memoryLimit {
		t.Errorf("%d bytes resident, want at most %d", after, memoryLimit)
	}
}
