package pg_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/pg"
	"gitsplit/ctl/internal/supervise"
)

// newHome returns a home that other users can reach, unlike those of t.TempDir.
func newHome(t *testing.T) home.Home {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := home.Resolve(filepath.Join(dir, "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	return h
}

// open returns the made cluster of h, or skips where PostgreSQL is missing.
func open(t *testing.T, h home.Home) pg.Cluster {
	t.Helper()
	c, err := pg.Open(h)
	if err != nil {
		if os.Getenv("CI") != "true" && strings.Contains(err.Error(), "apt-get install") {
			t.Skip(err)
		}
		t.Fatalf("Open: %v", err)
	}
	if err := c.Init(t.Context()); err != nil {
		t.Fatalf("Init: %v", err)
	}
	return c
}

// serve runs the server until the returned function is called.
func serve(t *testing.T, c pg.Cluster, kill syscall.Signal) (stop func()) {
	t.Helper()
	ready, ended := make(chan int, 1), make(chan error, 1)
	spec := supervise.Spec{
		Name: "postgres", Path: c.Program(), Args: c.Args(), User: c.User, Dir: "/", Output: io.Discard,
		Before: c.Prepare, Stop: kill, Orphan: syscall.SIGQUIT, Grace: 20 * time.Second,
		Env: []string{"LC_ALL=C"},
		Ready: func(ctx context.Context, pid int) error {
			err := c.Ready(ctx, pid)
			if err == nil {
				select {
				case ready <- pid:
				default:
				}
			}
			return err
		},
	}
	sup, err := supervise.New([]supervise.Spec{spec}, supervise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- sup.Run(ctx, func() {}) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the server ended: %v", err)
	}
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// psql runs one statement as the role of the services.
func psql(t *testing.T, c pg.Cluster, sql string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, c.URL())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql %q: %v: %s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	c := open(t, h)
	stop := serve(t, c, syscall.SIGINT)
	psql(t, c, "CREATE TABLE kept AS SELECT 42 AS answer")
	if got := psql(t, c, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"); got != "f" && c.Role != "postgres" {
		t.Errorf("the services are superusers: %s", got)
	}
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if got := psql(t, c, "SHOW "+name); got != "on" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if got := psql(t, c, "SHOW listen_addresses"); got != "" {
		t.Errorf("the server listens on %q", got)
	}
	stop()

	again := open(t, h)
	if again.Dir != c.Dir {
		t.Fatalf("the cluster moved from %s to %s", c.Dir, again.Dir)
	}
	stop = serve(t, again, syscall.SIGKILL)
	if got := psql(t, again, "SELECT answer FROM kept"); got != "42" {
		t.Errorf("the data are gone: %s", got)
	}
	stop() // kill -9: pid file and socket stay

	stop = serve(t, open(t, h), syscall.SIGINT)
	stop()
}

// The pid in a stale pid file may belong to any other program after a reboot.
func TestCluster_Prepare_foreignPid(t *testing.T) {
	t.Parallel()
	c := open(t, newHome(t))
	pidFile := filepath.Join(c.Data(), "postmaster.pid")
	for _, text := range []string{"1\n", "not a number", ""} {
		if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Prepare(t.Context()); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		if _, err := os.Stat(pidFile); err == nil {
			t.Errorf("the pid file %q is still there", text)
		}
	}
}

// An interrupted first start is done again from the beginning.
func TestCluster_Init_interrupted(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	c, err := pg.Open(h)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Init(ctx); err == nil {
		t.Fatal("Init succeeded with a context that had ended")
	}
	if _, err := os.Stat(c.Data()); err == nil {
		t.Fatal("half a cluster lies where a whole one belongs")
	}
	if err := c.Init(t.Context()); err != nil {
		t.Fatalf("Init: %v", err)
	}
}

// Run by root, the other tests use the system user; this one is the other half.
func TestCluster_asOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root to become someone else")
	}
	dir, err := os.MkdirTemp("/tmp", "pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "pg.test")
	if err := os.WriteFile(program, text, 0o755); err != nil { //nolint:gosec // run by another user
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	const nobody = 65534
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestCluster$")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v: %s", err, out)
	}
}

// A home in /root is out of the database user's reach.
func TestOpen_outOfReach(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	h, err := home.Resolve(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(h.Root), 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	c, err := pg.Open(h)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.Dir) })
	if !strings.HasPrefix(c.Dir, "/var/lib/gitsplit/") {
		t.Fatalf("the cluster would lie in %s", c.Dir)
	}
	again, err := pg.Open(h)
	if err != nil || again.Dir != c.Dir || again.Sockets != c.Sockets {
		t.Errorf("opened again: %+v, %v; want the same as %+v", again, err, c)
	}
}
