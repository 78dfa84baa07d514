package app_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/ctl/internal/status"
)

// site is a home of its own, with programs and ports.
type site struct {
	t     *testing.T
	home  string
	bin   string
	env   []string
	http  string
	https string
	ssh   string
}

func newSite(t *testing.T) *site {
	t.Helper()
	for _, program := range []string{"redis-server", "git", "psql"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "up-") // short, and open to the database's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	s := &site{t: t, home: filepath.Join(dir, "home"), bin: filepath.Join(dir, "bin"), http: freePort(t), https: freePort(t), ssh: freePort(t)}
	s.env = []string{"PATH=" + os.Getenv("PATH"), "GITSPLIT_HOME=" + s.home, "GITSPLIT_HTTP_PORT=" + s.http, "GITSPLIT_HTTPS_PORT=" + s.https, "GITSPLIT_SSH_PORT=" + s.ssh}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.bin, 0o755); err != nil { //nolint:gosec // programs
		t.Fatal(err)
	}
	for _, name := range []string{"gitsplit", "gitaly", "gitaly-hooks", "gitaly-linguist", "rails-api", "sidekiq", "gitlab-workhorse", "gitlab-sshd"} {
		if err := os.Link(self, filepath.Join(s.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// call runs a command of gitsplit to its end.
func (s *site) call(env []string, args ...string) (output string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.bin, "gitsplit"), args...)
	cmd.Env = slices.Concat(s.env, env)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// running is a `gitsplit up`.
type running struct {
	*site
	cmd   *exec.Cmd
	lines chan string
	mu    sync.Mutex
	all   strings.Builder
	part  string
	ended chan error
}

func (s *site) up(env ...string) *running {
	s.t.Helper()
	r := &running{site: s, lines: make(chan string, 1000), ended: make(chan error, 1)}
	r.cmd = exec.Command(filepath.Join(s.bin, "gitsplit"), "up") //nolint:noctx // ends by signal
	r.cmd.Env = slices.Concat(s.env, env)
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.WaitDelay = r, r, time.Second
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	s.t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.Write(p)
	for line := range strings.Lines(r.part + string(p)) {
		r.part = line
		if strings.HasSuffix(line, "\n") {
			r.lines <- line
			r.part = ""
		}
	}
	return len(p), nil
}

func (r *running) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// await waits for a line with the text.
func (r *running) await(text string) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case line := <-r.lines:
			if strings.Contains(line, text) {
				return
			}
		case <-limit:
			r.t.Fatalf("no line with %q came:\n%s", text, r.output())
		}
	}
}

// end waits for gitsplit to end, and returns its exit code.
func (r *running) end() int {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		r.t.Fatalf("gitsplit does not end:\n%s", r.output())
		return 0
	}
}

func (r *running) signal(sig os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// pids returns the processes that the status names, gitsplit's own included.
func (r *running) pids() map[string]int {
	r.t.Helper()
	now, err := status.Read(filepath.Join(r.home, "run/status.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	pids := map[string]int{"gitsplit": now.PID}
	for _, p := range now.Processes {
		pids[p.Name] = p.PID
	}
	return pids
}

// awaitGone waits for processes to end.
func awaitGone(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatalf("pidfd of %s: %v", name, err)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		}
		_ = unix.Close(fd)
		if err != nil || n != 1 {
			t.Errorf("%s (%d) is still there: %v", name, pid, err)
		}
	}
}

// noSockets fails if a socket lies anywhere below the directories.
func noSockets(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type()&fs.ModeSocket != 0 {
				err = fmt.Errorf("a socket is left: %s", path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
