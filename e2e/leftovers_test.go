package e2e_test

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/e2e/stack"
)

// TestLeftovers breaks pushes in three ways and looks for what they left. It has
// an instance of its own, so that pushes of other tests are not taken for theirs.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	s := startOwn(t)
	for transport := range transports(s) {
		t.Run(transport, func(t *testing.T) {
			c := newClient(t, s, transport)
			dir := c.worktree("app")
			before := c.git(".", "ls-remote", c.url("app"))

			t.Run("refused", func(t *testing.T) {
				if out, err := c.cmd(t.Context(), dir, "push", "origin", "main:refs/heads/"+strings.Repeat("0a", 20)).CombinedOutput(); err == nil {
					t.Fatalf("push is accepted:\n%s", out)
				}
				clean(t, s)
			})
			large(t, filepath.Join(dir, "large"))
			c.git(dir, "add", "large")
			c.git(dir, "commit", "-q", "-m", "large")
			for name, signal := range map[string]syscall.Signal{"aborted": syscall.SIGINT, "killed": syscall.SIGKILL} {
				t.Run(name, func(t *testing.T) {
					cutPush(t, s, c, dir, signal)
					clean(t, s)
				})
			}
			if after := c.git(".", "ls-remote", c.url("app")); after != before {
				t.Errorf("refs moved:\n%s\nbefore:\n%s", after, before)
			}
			// The next push works.
			c.git(dir, "push", "-q", "origin", "main")
			clean(t, s)
		})
	}
}

// cutPush starts a push and signals its whole process group as soon as the server
// has begun to store the pack.
func cutPush(t *testing.T, s *stack.Stack, c *client, dir string, signal syscall.Signal) {
	t.Helper()
	cmd := c.cmd(t.Context(), dir, "push", "origin", "main")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	eventually(t, time.Minute, func() string {
		select {
		case <-exited:
			t.Fatal("the push ended before it could be cut: make the file larger")
		default:
		}
		quarantine := filepath.Join(s.Home, "data", "repositories", "@hashed", "*", "*", "*.git", "objects", "tmp_objdir-incoming-*")
		for _, begun := range []string{"tmp_*", filepath.Join("*", "tmp_*")} { // git streams a large object, or writes a pack
			if files, _ := filepath.Glob(filepath.Join(quarantine, begun)); len(files) > 0 {
				return ""
			}
		}
		return "no object is being written"
	})
	if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil {
		t.Fatal(err)
	}
	<-exited
}

// clean fails the test if something is left 5 s after a push ended.
func clean(t *testing.T, s *stack.Stack) {
	t.Helper()
	eventually(t, restTime, func() string {
		left, err := s.Leftovers(t.Context())
		if err != nil {
			return err.Error()
		}
		return strings.Join(left, "\n")
	})
}

func large(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file) //nolint:gosec // test
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.Reader, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// startOwn starts an instance for one test.
func startOwn(t *testing.T, extra ...string) *stack.Stack {
	t.Helper()
	dir := instanceDir(t)
	s, err := stack.Start(t.Context(), bin, filepath.Join(dir, "home"), extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

// instanceDir makes a directory for an instance: short, since sockets live below
// it, and open for passing through, since PostgreSQL may run as another user.
func instanceDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gse2e")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user must get through to its data
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
