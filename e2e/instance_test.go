package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/e2e/stack"
)

// TestFirstPush does what a new user does: starts the instance, pastes the lines
// it prints, and finds the data again after a second start.
func TestFirstPush(t *testing.T) {
	t.Parallel()
	dir := instanceDir(t)
	home := filepath.Join(dir, "home")
	s, err := stack.Start(t.Context(), bin, home)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("first start: ready after %v", s.StartLag)
	for _, transport := range []string{"HTTP", "HTTPS", "SSH"} {
		paste(t, s, dir, transport)
	}
	if err := s.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	noProcesses(t, home)

	again, err := stack.Start(t.Context(), bin, home)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("second start: ready after %v", again.StartLag)
	var projects []struct {
		Path string `json:"path_with_namespace"`
	}
	token, err := again.Token()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Must(t.Context(), token, "GET", "projects", nil, &projects); err != nil {
		t.Fatal(err)
	}
	if len(projects) == 0 {
		t.Error("the second start does not find the pushed projects")
	}
	status(t, again)
	if err := again.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	noProcesses(t, home)
}

var section = regexp.MustCompile(`(?ms)^# --- push over (HTTP|HTTPS|SSH) ---$\n(.*?)^# ---`)

// paste runs the banner's lines for a transport in a fresh shell, in a fresh
// home directory.
func paste(t *testing.T, s *stack.Stack, dir, transport string) {
	t.Helper()
	lines := ""
	for _, m := range section.FindAllStringSubmatch(s.Banner, -1) {
		if m[1] == transport {
			lines = m[2]
		}
	}
	if lines == "" {
		t.Fatalf("the banner has no lines for a push over %s:\n%s", transport, s.Banner)
	}
	home := filepath.Join(dir, "user-"+transport)
	work := filepath.Join(home, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-c", lines) //nolint:gosec // what the program tells users to run
	cmd.Dir = work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LANG=C.UTF-8"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the pasted lines for %s fail: %v\n%s\n--- lines\n%s", transport, err, out, lines)
	}
}

// status reads the memory of the Go processes out of `gitsplit status`.
func status(t *testing.T, s *stack.Stack) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "gitsplit"), "status") //nolint:gosec // our own program
	cmd.Env = append(os.Environ(), "GITSPLIT_HOME="+s.Home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("gitsplit status: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`(?i)go processes\D*([0-9.]+) MiB`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("status names no memory of the Go processes:\n%s", out)
	}
	if mib, err := strconv.ParseFloat(string(m[1]), 64); err != nil || mib > 150 {
		t.Errorf("Go processes take %s MiB when idle, want at most 150:\n%s", m[1], out)
	}
	t.Logf("idle:\n%s", out)
}

// noProcesses fails the test if a process still works in home.
func noProcesses(t *testing.T, home string) {
	t.Helper()
	eventually(t, restTime, func() string {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		var left []string
		for _, file := range files {
			raw, _ := os.ReadFile(file) //nolint:gosec // procfs
			if strings.Contains(string(raw), home) {
				left = append(left, strings.ReplaceAll(string(raw), "\x00", " "))
			}
		}
		return strings.Join(left, "\n")
	})
}

// TestSupervisorKilled kills gitsplit with SIGKILL: nothing keeps running, and the
// next start works with the same data.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	dir := instanceDir(t)
	home := filepath.Join(dir, "home")
	s, err := stack.Start(t.Context(), bin, home)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s, "ssh")
	c.worktree("kept")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	noProcesses(t, home)
	again, err := stack.Start(t.Context(), bin, home)
	if err != nil {
		t.Fatal(err)
	}
	status, raw, err := again.API(t.Context(), c.actor.Token, "GET", "projects/"+c.actor.Username+"%2Fkept/repository/branches", nil)
	if err != nil || status != 200 || !json.Valid(raw) || !strings.Contains(string(raw), `"main"`) {
		t.Errorf("branches after the restart: %d %s %v", status, raw, err)
	}
	if err := again.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestServiceKilled kills each service in turn: it comes back by itself, and the
// next push works.
func TestServiceKilled(t *testing.T) {
	t.Parallel()
	s := startOwn(t)
	c := newClient(t, s, "ssh")
	dir := c.worktree("app")
	for _, name := range []string{"gitaly", "rails-api", "sidekiq", "gitlab-workhorse", "gitlab-sshd", "redis-server"} {
		t.Run(name, func(t *testing.T) {
			pid := pidOf(t, s, name)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.git(dir, "commit", "-q", "--allow-empty", "-m", "after the end of "+name)
			eventually(t, 30*time.Second, func() string {
				if out, err := c.cmd(t.Context(), dir, "push", "-q", "origin", "main").CombinedOutput(); err != nil {
					return string(out)
				}
				return ""
			})
			eventually(t, 30*time.Second, func() string {
				if now := pidOf(t, s, name); now == 0 || now == pid {
					return name + " was not started again"
				}
				return ""
			})
		})
	}
}

// pidOf finds the process that runs the named program for s, or 0.
func pidOf(t *testing.T, s *stack.Stack, name string) int {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		raw, _ := os.ReadFile(file) //nolint:gosec // procfs
		args := strings.Split(string(raw), "\x00")
		base := filepath.Base(firstWord(args[0]))
		if strings.TrimSpace(args[0]) != "" && base == name && strings.Contains(string(raw), s.Home) {
			pid, err := strconv.Atoi(strings.Split(file, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return word
}
