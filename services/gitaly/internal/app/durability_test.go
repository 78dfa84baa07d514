package app_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// serveKey holds a configuration file when the test binary runs as gitaly.
const serveKey = "GITALY_TEST_SERVE"

// serve is gitaly's main.
func serve() int {
	if err := app.Main(context.Background(), []string{"serve", os.Getenv(serveKey)}, func(string) (string, bool) { return "", false }, os.Stdout, os.Stderr); err != nil {
		return fail(err)
	}
	return 0
}

// child starts gitaly as a process of its own, with wrap before its command line, and
// returns what kills it, with all that is in its process group.
func (b *bundle) child(t *testing.T, wrap ...string) (kill func()) {
	t.Helper()
	file := filepath.Join(b.cfg.RuntimeDir, "gitaly.toml")
	text := fmt.Sprintf("socket_path = %q\nruntime_dir = %q\nbin_dir = %q\n[[storage]]\nname = \"default\"\npath = %q\n[auth]\ntoken = %q\n[gitlab]\nurl = %q\nsecret = %q\n"+
		"[daily_maintenance]\ndisabled = true\n", b.cfg.SocketPath, b.cfg.RuntimeDir, b.cfg.BinDir, b.dir, secretText, b.cfg.GitLab.URL, secretText)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	wrap = append(wrap, os.Args[0])
	cmd := exec.Command(wrap[0], wrap[1:]...) //nolint:noctx // it is killed below
	cmd.Env, cmd.Stderr = append(os.Environ(), serveKey+"="+file), b.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	eventually(t, "gitaly serves", func() bool {
		_, err := os.Stat(strings.TrimPrefix(b.address, "unix:"))
		return err == nil
	})
	b.connect(t)
	return kill
}

// TestDurable is the audit of design §6.1: when a client learns that a push or a change
// for a user is done, every file that was written in the repository and every directory
// that got a new name has been synced. It reads that off the system calls of gitaly and
// of all that it starts.
func TestDurable(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed: scripts/install-deps test installs it")
	}
	b := prepare(t)
	trace := filepath.Join(t.TempDir(), "trace")
	b.child(t, "strace", "-f", "-y", "-ttt", "-s", "4096", "-e", "signal=none", "-e", "trace="+calls, "-o", trace)
	dir := b.create(t, rel)
	from := seconds(time.Now())
	c := b.client(t)
	id := c.commit(t, "a", strings.Repeat("some text\n", 1000))
	for i := range 110 { // more than what receive-pack unpacks into files
		c.commit(t, fmt.Sprint("f", i), fmt.Sprint(i))
	}
	for i := range 120 { // more than what git moves one by one
		c.git(t, "branch", fmt.Sprint("many/", i))
	}
	isReport := func(name, args string) bool {
		return (name == "write" || name == "writev") && strings.Contains(args, "unpack ok") && !strings.Contains(args[:min(len(args), 40)], "pipe:")
	}
	never := func(string, string) bool { return false }
	reports := 0
	for _, refspec := range [][]string{{id + ":refs/heads/small"}, {"main:refs/heads/main", "main:refs/heads/a/b/c"}, {":refs/heads/small"}, {"refs/heads/many/*:refs/heads/many/*"}} {
		reports++
		c.git(t, append([]string{"push", "-q", remote(rel)}, refspec...)...)
		left := reports
		a := newAudit(dir)
		a.read(t, trace, from, math.Inf(1), func(name, args string) bool {
			if isReport(name, args) {
				left--
			}
			return left == 0
		})
		if left != 0 {
			t.Fatalf("%q: the report was not seen", refspec)
		}
		t.Logf("%q: %d syncs", refspec, a.synced)
		a.wantDurable(t, 3*reports)
	}
	_, err := gitalypb.NewOperationServiceClient(b.conn).UserCreateTag(t.Context(), &gitalypb.UserCreateTagRequest{
		Repository: repository(rel), TagName: []byte("v1"), TargetRevision: []byte("main"), Message: []byte("a tag"),
		User: &gitalypb.User{GlId: "user-1", GlUsername: "ada", Name: []byte("Ada"), Email: []byte("ada@example.com")},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := seconds(time.Now())
	eventually(t, "strace has written all", func() bool {
		raw, err := os.ReadFile(trace)
		return err == nil && strings.Contains(string(raw), "/refs/tags/v1")
	})
	a := newAudit(dir)
	a.read(t, trace, from, told, never)
	t.Logf("with the tag: %d syncs", a.synced)
	a.wantDurable(t, 3*reports+3)
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
