package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// client is one user's working directory against one instance and transport.
type client struct {
	tb     testing.TB
	actor  *actor
	home   string
	remote string
}

// transports names the address in front of a project's path for each transport.
func transports(s *stack.Stack) map[string]string {
	return map[string]string{"ssh": "ssh://git@" + s.SSHHost + ":" + s.SSHPort, "http": s.HTTP}
}

func newClient(tb testing.TB, s *stack.Stack, transport string) *client {
	tb.Helper()
	dir := tb.TempDir()
	home := filepath.Join(dir, "home")
	if err := user.NewHome(tb.Context(), s, home); err != nil {
		tb.Fatal(err)
	}
	a, err := user.New(tb.Context(), s, "user", dir)
	if err != nil {
		tb.Fatal(err)
	}
	return &client{tb: tb, actor: a, home: home, remote: transports(s)[transport]}
}

// clientOf is newClient for somebody who is there already.
func clientOf(tb testing.TB, a *actor, transport string) *client {
	tb.Helper()
	home := filepath.Join(tb.TempDir(), "home")
	if err := user.NewHome(tb.Context(), a.Stack, home); err != nil {
		tb.Fatal(err)
	}
	return &client{tb: tb, actor: a, home: home, remote: transports(a.Stack)[transport]}
}

// url returns the address of one of the user's own projects.
func (c *client) url(name string) string {
	return c.remote + "/" + c.actor.Username + "/" + name + ".git"
}

func (c *client) cmd(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // test
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), c.actor.Env(c.home)...)
	return cmd
}

// git runs git in dir and returns its trimmed output; it fails the test on error.
func (c *client) git(dir string, args ...string) string {
	c.tb.Helper()
	out, err := c.cmd(c.tb.Context(), dir, args...).CombinedOutput()
	if err != nil {
		c.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// worktree makes a repository with one commit and pushes it to a new project.
func (c *client) worktree(project string) string {
	c.tb.Helper()
	dir := filepath.Join(c.tb.TempDir(), project)
	c.git(".", "init", "-q", dir)
	c.git(dir, "commit", "-q", "--allow-empty", "-m", "start")
	c.git(dir, "remote", "add", "origin", c.url(project))
	c.git(dir, "push", "-q", "origin", "main")
	return dir
}

func eachTransport(t *testing.T, f func(t *testing.T, transport string)) {
	for transport := range transports(shared) {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			f(t, transport)
		})
	}
}

// TestConcurrentPushes lets 8 clients push to the same branch at once, each also
// to a branch of its own: the shared branch has one winner per round, the others
// are told, and nothing is corrupt.
func TestConcurrentPushes(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport string) {
		c := newClient(t, shared, transport)
		c.worktree("race")
		const clients = 8
		clones := make([]string, clients)
		for i := range clones {
			clones[i] = filepath.Join(t.TempDir(), fmt.Sprint(i))
			c.git(".", "clone", "-q", c.url("race"), clones[i])
			c.git(clones[i], "commit", "-q", "--allow-empty", "-m", fmt.Sprintf("by %d", i))
		}
		outputs := make([]string, clients)
		wins := make([]bool, clients)
		var wg sync.WaitGroup
		for i, dir := range clones {
			wg.Go(func() {
				out, err := c.cmd(t.Context(), dir, "push", "origin", "main").CombinedOutput()
				outputs[i], wins[i] = string(out), err == nil
				own := fmt.Sprintf("main:refs/heads/own-%d", i)
				if out, err := c.cmd(t.Context(), dir, "push", "-q", "origin", own).CombinedOutput(); err != nil {
					t.Errorf("push of a branch of its own: %v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		winner := -1
		for i, won := range wins {
			switch {
			case won && winner >= 0:
				t.Errorf("clients %d and %d both won", winner, i)
			case won:
				winner = i
			case !strings.Contains(outputs[i], "rejected") && !strings.Contains(outputs[i], "failed to push"):
				t.Errorf("loser %d reads:\n%s", i, outputs[i])
			}
		}
		if winner < 0 {
			t.Fatalf("nobody won:\n%s", strings.Join(outputs, "\n"))
		}
		refs := c.git(".", "ls-remote", c.url("race"))
		if tip := c.git(clones[winner], "rev-parse", "HEAD"); !strings.Contains(refs, tip+"\trefs/heads/main") {
			t.Errorf("main is not the winner's %s:\n%s", tip, refs)
		}
		if n := strings.Count(refs, "refs/heads/own-"); n != clients {
			t.Errorf("%d own branches, want %d", n, clients)
		}
	})
}

// TestTwoRepositoriesAtOnce pushes to two projects at the same time.
func TestTwoRepositoriesAtOnce(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport string) {
		c := newClient(t, shared, transport)
		dirs := map[string]string{"left": c.worktree("left"), "right": c.worktree("right")}
		var wg sync.WaitGroup
		for _, dir := range dirs {
			c.git(dir, "commit", "-q", "--allow-empty", "-m", "more")
			wg.Go(func() {
				if out, err := c.cmd(t.Context(), dir, "push", "-q", "origin", "main").CombinedOutput(); err != nil {
					t.Errorf("push: %v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		for name, dir := range dirs {
			if got, want := c.git(".", "ls-remote", c.url(name), "main"), c.git(dir, "rev-parse", "main"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %s", name, got, want)
			}
		}
	})
}

// restTime bounds the wait until nothing is left of pushes and processes. It takes five
// seconds at most, on a machine with nothing else to do.
const restTime = 30 * time.Second

// eventually waits until check returns "", or fails with its last complaint.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %s", within, complaint)
		}
	}
}
