package app_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A life: start, look, crash of a service, a second gitsplit, stop, start again.
func TestUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if out, code := s.call(nil, "credentials"); code != 1 || !strings.Contains(out, "run: gitsplit up") {
		t.Errorf("credentials before the first start: %d, %s", code, out)
	}
	r := s.up("GITSPLIT_ROOT_PASSWORD=correct horse battery")
	r.await("Password   correct horse battery")
	r.await("# --- push over SSH ---")
	r.await("gitsplit is ready")

	out, code := s.call(nil, "status")
	if code != 0 || strings.Count(out, " ready ") != 8 || !strings.Contains(out, "resident memory of the Go processes") {
		t.Errorf("status: %d\n%s", code, out)
	}
	out, code = s.call(nil, "up")
	if code != 1 || !strings.Contains(out, s.home+" is already in use by gitsplit, process ") {
		t.Errorf("a second gitsplit: %d, %s", code, out)
	}

	before := r.pids()
	if err := syscall.Kill(before["gitaly"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.await("ended by itself, signal: killed; will be started again in 500ms")
	r.await("gitaly           | ready")
	if after := r.pids(); after["gitaly"] == before["gitaly"] || after["redis"] != before["redis"] {
		t.Errorf("before %v, after %v: only gitaly should be another", before, after)
	}

	all := r.pids()
	r.signal(syscall.SIGTERM)
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	awaitGone(t, all)
	noSockets(t, s.home)
	checkOrder(t, r.output(), "gitlab-sshd      | stopped", "gitlab-workhorse | stopped", "rails-api        | stopped", "postgres         | stopped")
	if out, code := s.call(nil, "status"); code != 1 || !strings.Contains(out, "is not running") {
		t.Errorf("status after the end: %d, %s", code, out)
	}
	checkModes(t, s.home)
	againWithTheSameData(t, s)
}

func againWithTheSameData(t *testing.T, s *site) {
	t.Helper()
	secrets := map[string]string{}
	for _, name := range secretFiles(t, s) {
		secrets[name] = read(t, name)
	}
	r := s.up("GITSPLIT_ROOT_PASSWORD=another password", "GITSPLIT_VERBOSE=1")
	r.await("GITSPLIT_ROOT_PASSWORD has no effect")
	r.await("INFO starting")
	r.await("Password   correct horse battery")
	for _, name := range secretFiles(t, s) {
		if read(t, name) != secrets[name] {
			t.Errorf("%s is another one", name)
		}
	}
	r.signal(syscall.SIGINT)
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// kill -9 leaves nothing running, and the next start has nothing to complain of.
func TestUp_killed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.up("GITSPLIT_FAKE_DEAF=sidekiq") // which a SIGTERM does not end
	r.await("gitsplit is ready")
	all := r.pids()
	r.signal(syscall.SIGKILL)
	r.end()
	deaf := all["sidekiq"]
	delete(all, "sidekiq")
	awaitGone(t, all)

	again := s.up()
	again.await("ended sidekiq")
	again.await("gitsplit is ready")
	awaitGone(t, map[string]int{"sidekiq": deaf})
	again.signal(syscall.SIGTERM)
	again.end()
}

func TestUp_twoSignals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.up("GITSPLIT_FAKE_DEAF=gitlab-sshd")
	r.await("gitsplit is ready")
	all := r.pids()
	r.signal(syscall.SIGINT)
	r.await("again to kill at once")
	r.signal(syscall.SIGINT)
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	awaitGone(t, all)
	noSockets(t, s.home)
}

// A socket's address is short; a home's path need not be.
func TestUp_longPath(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	long := filepath.Join(filepath.Dir(s.home), strings.Repeat("long/", 30), "a home")
	if err := os.MkdirAll(filepath.Dir(long), 0o755); err != nil { //nolint:gosec // open to the database's user
		t.Fatal(err)
	}
	s.home, s.env[1] = long, "GITSPLIT_HOME="+long
	r := s.up()
	r.await("gitsplit is ready")
	out, _ := s.call(nil, "status")
	_, sockets, _ := strings.Cut(out, "sockets: ")
	sockets, _, _ = strings.Cut(sockets, "\n")
	if !strings.HasPrefix(sockets, "/tmp/gitsplit-") {
		t.Errorf("the sockets are in %q", sockets)
	}
	r.signal(syscall.SIGTERM)
	r.end()
	if _, err := os.Stat(sockets); err == nil {
		t.Errorf("%s is left", sockets)
	}
}

func TestUp_refused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, taken, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, env, want string }{
		{"port in use", "GITSPLIT_HTTP_PORT=" + taken, "port " + taken + " (127.0.0.1:" + taken + ") is in use by another program; stop that one, or set GITSPLIT_HTTP_PORT"},
		{"not a port", "GITSPLIT_SSH_PORT=ssh", `GITSPLIT_SSH_PORT: "ssh" is not a port`},
		{"short password", "GITSPLIT_ROOT_PASSWORD=short", "GITSPLIT_ROOT_PASSWORD: needs 8 to 72 bytes"},
		{"a path for a shell", "GITSPLIT_HOME=/tmp/$(id)", "choose another"},
		{"crash at start", "GITSPLIT_FAKE_CRASH=gitaly", "gitaly has had enough"},
	}
	for _, tc := range tests { // one after the other: they share the home
		out, code := s.call([]string{tc.env}, "up")
		if code != 1 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: code %d, want %q in:\n%s", tc.name, code, tc.want, out)
		}
	}
	if err := os.Remove(filepath.Join(s.bin, "sidekiq")); err != nil {
		t.Fatal(err)
	}
	if out, code := s.call(nil, "up"); code != 1 || !strings.Contains(out, "sidekiq; run: make build") {
		t.Errorf("a program is missing: %d, %s", code, out)
	}
	noSockets(t, s.home)
}

func TestInit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if out, code := s.call(nil, "init"); code != 0 {
		t.Fatalf("init: %d, %s", code, out)
	}
	checkModes(t, s.home)
	out, code := s.call(nil, "credentials")
	password := strings.TrimSpace(read(t, filepath.Join(s.home, "secrets/initial_root_password")))
	if code != 0 || len(password) < 20 || !strings.Contains(out, password) {
		t.Errorf("credentials: %d, password %q\n%s", code, password, out)
	}
	if token := read(t, filepath.Join(s.home, "secrets/initial_root_token")); strings.Contains(out, strings.TrimSpace(token)) {
		t.Error("the token is on the terminal")
	}
	for _, args := range [][]string{{}, {"fly"}, {"up", "up"}} {
		if out, code := s.call(nil, args...); code != 2 || !strings.Contains(out, "usage:") {
			t.Errorf("%q: %d, %s", args, code, out)
		}
	}
	for _, arg := range []string{"help", "version"} {
		if out, code := s.call(nil, arg); code != 0 || !strings.Contains(out, "gitsplit") {
			t.Errorf("%s: %d, %s", arg, code, out)
		}
	}
}

// TestOperate hands commands to rails-api: with the configuration of the home while gitsplit runs, or the one that is named.
func TestOperate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, want := range []string{"there is nothing in", "gitsplit is not running in"} {
		if out, code := s.call(nil, "admin", "user", "list"); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%d, %s, want %q", code, out, want)
		}
		if out, code := s.call(nil, "init"); code != 0 {
			t.Fatalf("init: %d, %s", code, out)
		}
	}
	dir := t.TempDir()
	env := []string{"GITSPLIT_CONFIG=" + dir, "GITSPLIT_ROOT_PASSWORD=not for children"}
	out, code := s.call(env, "admin", "user", "list", "--json")
	if want := "-config\n" + dir + "/rails-api.yml\nadmin\nuser\nlist\n--json\n\n"; code != 0 || out != want {
		t.Errorf("%d, %q, want %q", code, out, want)
	}
	out, code = s.call(env, "project", "move", "a/b", "second")
	if want := "-config\n" + dir + "/rails-api.yml\nadmin\nproject\nmove\na/b\nsecond\n\n"; code != 0 || out != want {
		t.Errorf("%d, %q, want %q", code, out, want)
	}
}

// checkModes fails if anything in the home is open to others. The group may pass
// where the database's user must.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		open := info.Mode().Perm() & 0o077
		if open != 0 && !(entry.IsDir() && open == 0o010) {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("%q is missing or too early in:\n%s", part, text)
			return
		}
		rest = after
	}
}

func secretFiles(t *testing.T, s *site) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.home, "secrets", "*"))
	if err != nil || len(files) != 8 {
		t.Fatalf("secrets: %v, %v", files, err)
	}
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
