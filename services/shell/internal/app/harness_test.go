package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/app"
	"gitsplit/services/shell/internal/hostkey"
	"gitsplit/services/shell/internal/shelltest"
)

// TestMain points git at a configuration that breaks, and fails if a goroutine of
// the daemon is left behind.
func TestMain(m *testing.M) {
	if os.Getenv(asShell) != "" {
		os.Exit(app.Shell(context.Background(), app.System()))
	}
	_ = os.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	_ = os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	code := m.Run()
	if left := leftovers(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers() (stacks string) {
	for deadline := time.After(5 * time.Second); ; {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "services/shell/internal/sshd.(") && !strings.Contains(stacks, "kit/gitalyclient.") {
			return ""
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			return stacks
		}
	}
}

const (
	relativePath = "@hashed/6b/86/app.git"
	gitalyToken  = "gitaly-secret"
	discoverPath = internalapi.PathDiscover
	allowedPath  = internalapi.PathAllowed
)

// world is a daemon with its neighbours and one user whose key has the id 7.
type world struct {
	api     *shelltest.API
	gitaly  *shelltest.Gitaly
	dir     string // configuration, keys, work trees
	repo    string // the bare repository on the fake gitaly
	addr    string
	web     string
	key     string
	log     *logWatch
	stop    context.CancelFunc
	stopped <-chan error

	mu   sync.Mutex
	keys map[string]int64
}

// start runs gitlab-sshd until the test ends. extra goes into the sshd section.
func start(t *testing.T, extra string) *world {
	t.Helper()
	need(t, "git", "ssh", "ssh-keygen")
	root := t.TempDir()
	w := &world{
		dir: t.TempDir(), repo: filepath.Join(root, relativePath), api: shelltest.NewAPI(t),
		gitaly: shelltest.NewGitaly(t, root), keys: map[string]int64{},
	}
	run(t, "", "git", "init", "-q", "--bare", "-b", "main", w.repo)
	w.key = w.newKey(t, "id", 7)
	w.api.Handle(internalapi.PathAuthorizedKeys, w.authorizedKeys)
	w.api.Answer(allowedPath, http.StatusOK, w.allowed())
	w.api.Answer(discoverPath, http.StatusOK, `{"id":3,"username":"ada","name":"Ada Example"}`)
	w.write(t, "config.yml", fmt.Sprintf(
		"gitlab_url: %s\nsecret_file: secret\nlog_level: debug\nsshd:\n  listen: 127.0.0.1:0\n  web_listen: 127.0.0.1:0\n"+
			"  host_key_files: [host_ed25519]\n%s", w.api.URL, extra))
	w.write(t, "secret", shelltest.Secret)
	w.serve(t)
	return w
}

func (w *world) serve(t *testing.T) {
	t.Helper()
	w.log = newLogWatch()
	log, stopped := w.log, make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		stopped <- app.Main(ctx, []string{"-config-dir", w.dir}, noEnv, log, log)
		close(stopped)
	}()
	t.Cleanup(func() {
		stop()
		for err := range stopped {
			if err != nil {
				t.Errorf("daemon: %v", err)
			}
		}
	})
	w.stop, w.stopped = stop, stopped
	w.web = w.log.await(t, "listening for probes")["address"].(string)
	w.addr = w.log.await(t, "listening for SSH connections")["address"].(string)
	host, err := hostkey.Load(filepath.Join(w.dir, "host_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(w.addr)
	w.write(t, "known_hosts", fmt.Sprintf("[127.0.0.1]:%s %s", port, gossh.MarshalAuthorizedKey(host.PublicKey())))
}

func noEnv(string) (string, bool) { return "", false }

func (w *world) allowed() internalapi.AllowedResponse {
	return internalapi.AllowedResponse{
		Status: true, GLRepository: "project-26", GLProjectPath: "group/app", GLID: "user-3", GLUsername: "ada",
		GLKeyType: "key", GLKeyID: 7, GitConfigOptions: []string{"uploadpack.allowFilter=true"},
		Gitaly: &internalapi.Gitaly{
			Address: w.gitaly.Address, Token: gitalyToken,
			Repository: internalapi.Repository{
				StorageName: "default", RelativePath: relativePath, GLRepository: "project-26", GLProjectPath: "group/app",
			},
			Features: map[string]string{"gitaly-feature-some-thing": "true", "other": "true"},
		},
	}
}

func (w *world) authorizedKeys(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	id, ok := w.keys[r.URL.Query().Get("key")]
	w.mu.Unlock()
	if !ok {
		http.Error(rw, `{"message":"404 Key Not Found"}`, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(rw).Encode(internalapi.AuthorizedKey{ID: id})
}

// newKey makes an SSH key; with an id above 0 the API knows it.
func (w *world) newKey(t *testing.T, name string, id int64) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
	raw, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if id > 0 {
		w.mu.Lock()
		w.keys[strings.TrimRight(strings.Fields(string(raw))[1], "=")] = id
		w.mu.Unlock()
	}
	return path
}

func (w *world) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sshArgs are those of OpenSSH's client; keys are offered in their order.
func (w *world) sshArgs(keys ...string) []string {
	_, port, _ := net.SplitHostPort(w.addr)
	args := []string{
		"-F", "none", "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + filepath.Join(w.dir, "known_hosts"),
	}
	for _, k := range keys {
		args = append(args, "-i", k)
	}
	return args
}

// result is how a program ended. OpenSSH's own lines end in CR LF; the CRs are
// dropped.
type result struct {
	exit           int
	stdout, stderr string
}

// ssh runs OpenSSH's client with the user's key.
func (w *world) ssh(t *testing.T, args ...string) result {
	t.Helper()
	return capture(t, exec.CommandContext(t.Context(), "ssh", append(w.sshArgs(w.key), args...)...))
}

// gitCommand is git with the user's key; url() is the repository.
func (w *world) gitCommand(t *testing.T, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_SSH_COMMAND=ssh "+strings.Join(w.sshArgs(w.key), " "),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.test")
	return cmd
}

func (w *world) git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	got := capture(t, w.gitCommand(t, dir, args...))
	if got.exit != 0 {
		t.Fatalf("git %v: exit status %d, stderr:\n%s", args, got.exit, got.stderr)
	}
	return got.stdout
}

func (w *world) url() string { return "ssh://git@" + w.addr + "/group/app.git" }

// seed puts one commit into the repository, past the daemon.
func (w *world) seed(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	w.git(t, dir, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(t, dir, "add", ".")
	w.git(t, dir, "commit", "-q", "-m", "first")
	w.git(t, dir, "push", "-q", w.repo, "main")
}

func capture(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return result{exit.ExitCode(), stdout.String(), strings.ReplaceAll(stderr.String(), "\r\n", "\n")}
	}
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{0, stdout.String(), stderr.String()}
}

func run(t *testing.T, dir string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if got := capture(t, cmd); got.exit != 0 {
		t.Fatalf("%s %v: exit status %d: %s", name, args, got.exit, got.stderr)
	}
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", p)
			}
			t.Skipf("%s is missing", p)
		}
	}
}

// logWatch is the daemon's log; tests wait for its lines.
type logWatch struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   []map[string]any
}

func newLogWatch() *logWatch {
	l := &logWatch{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// Write gets one JSON line at a time.
func (l *logWatch) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, fmt.Errorf("log line %q: %w", p, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	l.changed.Broadcast()
	return len(p), nil
}

// await returns the first line with the message.
func (l *logWatch) await(t *testing.T, msg string) map[string]any {
	t.Helper()
	return l.awaitNth(t, msg, 1)
}

func (l *logWatch) awaitNth(t *testing.T, msg string, n int) map[string]any {
	t.Helper()
	expired := false
	timer := time.AfterFunc(20*time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		expired = true
		l.changed.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		found := 0
		for _, line := range l.lines {
			if line["msg"] == msg {
				if found++; found == n {
					return line
				}
			}
		}
		if expired {
			t.Fatalf("no log line %q, number %d, in %v", msg, n, l.lines)
		}
		l.changed.Wait()
	}
}
