package rundir_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/rundir"
)

// short is a directory whose name leaves room for socket names.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestOpen(t *testing.T) {
	t.Parallel()
	base := short(t)
	d, err := rundir.Open(base, "/bin/true", logging.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, fmt.Sprintf("gitaly-%d", os.Getpid())); d.Path != want {
		t.Errorf("path %q, want %q", d.Path, want)
	}
	hooks, err := d.NewHooks("pre-receive", "post-receive")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(hooks)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(hooks, e.Name()))
		names = append(names, e.Name()+" "+target)
	}
	want := []string{"post-receive /bin/true", "pre-receive /bin/true"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(d.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestOpen_temporary(t *testing.T) {
	t.Parallel()
	d, err := rundir.Open("", "/bin/true", logging.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpen_fails(t *testing.T) {
	t.Parallel()
	base := short(t)
	for _, tc := range []struct{ base, hook, want string }{
		{base, "/nonexistent/gitaly-hooks", "set bin_dir"},
		{base, "relative", "absolute path"},
		{base, base, "not executable"},
		{filepath.Join(base, strings.Repeat("d", 100)), "/bin/true", "choose a shorter runtime_dir"},
		{"/dev/null/x", "/bin/true", "runtime directory"},
	} {
		d, err := rundir.Open(tc.base, tc.hook, logging.Discard())
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Open(%q, %q) = %v, %v, want %q", tc.base, tc.hook, d, err, tc.want)
		}
	}
}

// TestOpen_prunes: what a dead process left goes with its children; a living one's
// stays, and so does what is not ours.
func TestOpen_prunes(t *testing.T) {
	t.Parallel()
	base := short(t)
	dead, foreign := filepath.Join(base, "gitaly-1"), filepath.Join(base, "gitaly-hooks")
	for _, dir := range []string{dead, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	orphan := exec.CommandContext(t.Context(), "sleep", "1000")
	orphan.Env = []string{"GIT_CONFIG=core.hooksPath=" + dead + "/hooks-x.d"}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	d, err := rundir.Open(base, "/bin/true", logging.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("orphan ended with %v", err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("directory of a dead process: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("somebody else's directory: %v", err)
	}
	if _, err := rundir.Open(base, "/bin/true", logging.Discard()); err == nil {
		t.Error("a second one takes the directory of the first")
	}
	if _, err := os.Stat(d.Socket()[:strings.LastIndex(d.Socket(), "/")]); err != nil {
		t.Errorf("the living directory suffered: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestEndWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(args ...string) (pid int, ended chan error) {
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", "read x", "sh"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stdin.Close() })
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd.Process.Pid, ended
	}
	_, orphan := start("--git-dir", dir+"/r.git", "-c", "core.hooksPath=/x")
	other, _ := start("--git-dir", dir+"/r.git", "gc")
	neighbour, _ := start("--git-dir", dir+"2/r.git", "-c", "core.hooksPath=/x")
	if n, err := rundir.EndWriters(dir); n != 1 || err != nil {
		t.Errorf("EndWriters = %d, %v", n, err)
	}
	if err := <-orphan; err == nil || err.Error() != "signal: killed" {
		t.Errorf("orphan ended with %v", err)
	}
	for _, pid := range []int{other, neighbour} {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("process %d is gone: %v", pid, err)
		}
	}
}
