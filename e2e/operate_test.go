package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// outcome is what a command of gitsplit did.
type outcome struct {
	code        int
	out, stderr string
}

// gitsplit runs a command of gitsplit against s; extra variables go to its environment.
func gitsplit(ctx context.Context, t *testing.T, s *stack.Stack, input string, extra []string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "gitsplit"), args...) //nolint:gosec // our own program
	var out, stderr bytes.Buffer
	cmd.Env = append(append(os.Environ(), s.Environ()...), extra...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("gitsplit %q: %v", args, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// cells returns the cells of the lines below the first.
func (o outcome) cells() [][]string {
	var rows [][]string
	for i, line := range strings.Split(strings.TrimSpace(o.out), "\n") {
		if i > 0 {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

// TestAdmin makes an account on the command line, which then does what people do, until it is blocked.
func TestAdmin(t *testing.T) {
	t.Parallel()
	name := "ada-" + user.RandomHex(4)
	admin := func(input, line string) outcome {
		t.Helper()
		return gitsplit(t.Context(), t, shared, input, nil, append([]string{"admin"}, strings.Fields(line)...)...)
	}
	must := func(input, line string) [][]string {
		t.Helper()
		o := admin(input, line)
		if o.code != 0 || o.stderr != "" {
			t.Fatalf("admin %s: %+v", line, o)
		}
		return o.cells()
	}
	must("correct horse battery\n", "user create "+name+" "+name+"@example.test --password-stdin")
	token := must("", "token create "+name+" laptop")[0][1]
	a := &actor{Stack: shared, Username: name, Password: "correct horse battery", Token: token}
	var err error
	if a.KeyFile, err = user.NewKey(t.Context(), filepath.Join(t.TempDir(), name)); err != nil {
		t.Fatal(err)
	}
	key := must(read(t, a.KeyFile+".pub"), "key add "+name)
	for _, transport := range []string{"ssh", "http"} {
		c := clientOf(t, a, transport)
		c.worktree("by-" + transport)
	}
	if got := must("", "project list --search "+name+"/by-"); len(got) != 2 {
		t.Errorf("projects: %q", got)
	}
	must("", "user block "+name)
	if status, raw, err := shared.API(t.Context(), token, "GET", "user", nil); err != nil || status != 403 && status != 401 {
		t.Errorf("a blocked user's token: %d %s %v", status, raw, err)
	}
	must("", "user unblock "+name)
	must("", "key delete "+key[0][0]+" --yes")
	if o := admin("", "project delete "+name+"/by-ssh"); o.code != 2 || !strings.Contains(o.stderr, "add --yes") {
		t.Errorf("deleted without a word: %+v", o)
	}
	must("", "project delete "+name+"/by-ssh --yes")
	if o := admin("", "user block nobody-"+user.RandomHex(4)); o.code != 1 || !strings.Contains(o.stderr, "there is no user") {
		t.Errorf("nobody: %+v", o)
	}
	if o := admin("", "help"); o.code != 0 || !strings.Contains(o.out, "usage: gitsplit admin") {
		t.Errorf("help: %+v", o)
	}
}

// TestBackup keeps everything while people push, loses the whole installation, and has it again in another home: references, large files, log-ins.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := startOwn(t)
	c := newClient(t, s, "ssh")
	quiet := c.worktree("quiet")
	c.git(quiet, "lfs", "install", "--local")
	c.git(quiet, "lfs", "track", "*.bin")
	if err := os.WriteFile(filepath.Join(quiet, "large.bin"), []byte("a large file"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.git(quiet, "add", ".")
	c.git(quiet, "commit", "-q", "-m", "a large file")
	c.git(quiet, "push", "-q", "origin", "main", "HEAD:refs/heads/topic")
	busy := c.worktree("busy")
	dir := t.TempDir()
	passphrase := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, pushed := make(chan struct{}), make(chan error, 1)
	go func() { pushed <- pushOn(t.Context(), c, busy, stop) }()
	o := gitsplit(t.Context(), t, s, "", nil, "backup", "--passphrase-file", passphrase, dir+"/")
	close(stop)
	if err := <-pushed; err != nil {
		t.Fatalf("a push during the backup: %v", err)
	}
	if o.code != 0 {
		t.Fatalf("backup: %+v", o)
	}
	archive := strings.TrimSpace(o.out)
	if got := gitsplit(t.Context(), t, s, "", nil, "restore", "--passphrase-file", passphrase, archive); got.code != 1 || !strings.Contains(got.stderr, "is already in use") {
		t.Errorf("restored into a running installation: %+v", got)
	}
	refs := c.git(quiet, "ls-remote", "origin")
	hostKey := read(t, filepath.Join(s.Home, "secrets", "ssh_host_ed25519_key"))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	home := filepath.Join(instanceDir(t), "home")
	into := []string{"GITSPLIT_HOME=" + home}
	cut := filepath.Join(dir, "cut.tar")
	if err := os.WriteFile(cut, []byte(read(t, archive)[:20000]), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{cut: "the archive is damaged or cut short", dir + "/none.tar": "no such file"} {
		if got := gitsplit(t.Context(), t, s, "", into, "restore", "--passphrase-file", passphrase, file); got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v", file, got)
		}
	}
	if got := gitsplit(t.Context(), t, s, "", into, "restore", "--passphrase-file", passphrase, archive); got.code != 0 {
		t.Fatalf("restore: %+v", got)
	}
	if got := gitsplit(t.Context(), t, s, "", into, "restore", "--passphrase-file", passphrase, archive); got.code != 1 || !strings.Contains(got.stderr, "not empty") {
		t.Errorf("restored twice: %+v", got)
	}
	again, err := stack.Start(t.Context(), bin, home)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if now := read(t, filepath.Join(home, "secrets", "ssh_host_ed25519_key")); now != hostKey {
		t.Error("the host key is another one")
	}
	a := *c.actor
	a.Stack = again
	for _, transport := range []string{"ssh", "http"} { // key, password
		d := clientOf(t, &a, transport)
		if got := d.git(t.TempDir(), "ls-remote", d.url("quiet"), "HEAD", "refs/heads/main", "refs/heads/topic"); got != refs {
			t.Errorf("%s: references\n%s\nwere\n%s", transport, got, refs)
		}
		clone := filepath.Join(t.TempDir(), "clone")
		d.git(t.TempDir(), "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.required=true", "clone", "-q", d.url("quiet"), clone)
		if got := read(t, filepath.Join(clone, "large.bin")); got != "a large file" {
			t.Errorf("%s: large file %q", transport, got)
		}
		d.git(t.TempDir(), "clone", "-q", d.url("busy"), filepath.Join(t.TempDir(), "busy"))
		d.git(clone, "commit", "-q", "--allow-empty", "-m", "after "+transport)
		d.git(clone, "push", "-q", "origin", "HEAD:refs/heads/after-"+transport)
	}
}

// pushOn pushes one commit after the other until stop.
func pushOn(ctx context.Context, c *client, dir string, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		for _, args := range [][]string{{"commit", "-q", "--allow-empty", "-m", "one more"}, {"push", "-q", "origin", "main"}} {
			if out, err := c.cmd(ctx, dir, args...).CombinedOutput(); err != nil {
				return errors.Join(err, errors.New(string(out)))
			}
		}
	}
}

// TestDoctor finds nothing wrong with a healthy installation, and names each hop that is broken.
func TestDoctor(t *testing.T) {
	t.Parallel()
	s := startOwn(t)
	if o := gitsplit(t.Context(), t, s, "", nil, "doctor"); o.code != 0 || strings.Contains(o.out, "FAIL") {
		t.Fatalf("healthy: %+v", o)
	}
	var list []struct {
		Check, Detail, Remedy string
		OK                    bool
	}
	if o := gitsplit(t.Context(), t, s, "", nil, "doctor", "--json"); json.Unmarshal([]byte(o.out), &list) != nil || len(list) < 15 {
		t.Errorf("as JSON: %+v", o)
	}
	unwell := func(name, want string, extra ...string) {
		t.Helper()
		if o := gitsplit(t.Context(), t, s, "", extra, "doctor"); o.code != 1 || !regexp.MustCompile("(?m)^FAIL  "+want+".*→").MatchString(o.out) {
			t.Errorf("%s: no %q in %+v", name, want, o)
		}
	}
	unwell("nobody listens", "port SSH", "GITSPLIT_SSH_PORT=1")
	unwell("elsewhere", "external URL", "EXTERNAL_URL=http://localhost:1")
	unwell("another database", "database  ", "RAILS_API_DATABASE_URL=postgres:///x?host="+t.TempDir())
	unwell("another Redis", "redis", "RAILS_API_REDIS_URL=unix:///nowhere")
	unwell("a secret that is none", "secrets of rails-api", "RAILS_API_DATABASE_KEY_FILE=/nowhere")
	unwell("another directory", "object storage", "RAILS_API_OBJECT_STORAGE=file:///proc/nowhere")
	secret := filepath.Join(s.Home, "secrets", "gitlab_shell_secret")
	kept := read(t, secret)
	if err := os.WriteFile(secret, []byte(strings.Repeat("y", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	unwell("the services have another secret", "internal API")
	if err := os.WriteFile(secret, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pidOf(t, s, "gitaly"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	unwell("gitaly does not answer", "gitaly of storage default")
	if err := syscall.Kill(pidOf(t, s, "gitaly"), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
