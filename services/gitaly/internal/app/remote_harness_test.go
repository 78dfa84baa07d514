package app_test

import (
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// origin is another git server: git's own http-backend behind TLS.
type origin struct {
	*httptest.Server
	dir  string // holds its repositories
	ca   string // file with its certificate
	mu   sync.Mutex
	user string // "" lets everybody in
	pass string
	hook http.HandlerFunc // answers instead of git, if not nil
	seen []http.Header
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{dir: t.TempDir()}
	execPath, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"), Root: "/", Stderr: t.Output(),
		Env: []string{"GIT_PROJECT_ROOT=" + o.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=test", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	}
	o.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.seen = append(o.seen, r.Header.Clone())
		hook, user, pass := o.hook, o.user, o.pass
		o.mu.Unlock()
		if hook != nil {
			hook(w, r)
			return
		}
		if u, p, _ := r.BasicAuth(); user != "" && (u != user || p != pass) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "you said "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			r.Header.Set("Git-Protocol", p)
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(o.Close)
	o.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw})
	if err := os.WriteFile(o.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *origin) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// repo makes a repository at the origin, from a bare copy of dir if that is not "".
func (o *origin) repo(t *testing.T, name, dir string, args ...string) string {
	t.Helper()
	path := filepath.Join(o.dir, name)
	if dir != "" {
		args = append([]string{"clone", "-q", "--mirror", dir, path}, args...)
	} else {
		args = append([]string{"init", "-q", "--bare", "-b", "main", path}, args...)
	}
	gitIn(t, o.dir, args...)
	gitIn(t, path, "config", "http.receivepack", "true")
	return path
}

// reach lets a gitaly connect to origins of the test.
func (o *origin) reach(c *app.Config) {
	c.Remote.AllowLocalNetworks = true
	c.Git.Config = append(c.Git.Config, app.GitConfig{Key: "http.sslCAInfo", Value: o.ca})
}

// at is the URL of a repository at the origin, by a name that only a given
// address makes reachable.
func (o *origin) at(name string) string {
	u, _ := url.Parse(o.URL)
	return "https://example.com:" + u.Port() + "/" + name
}

const loopback = "127.0.0.1"

// gitIn runs git without gitaly.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// sampleHistory makes a working copy with two commits, a tag and a hidden reference.
func sampleHistory(t *testing.T, format string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "trunk", "--object-format="+format)
	for _, text := range []string{"one", "two"} {
		if err := writeFile(filepath.Join(dir, "file"), text); err != nil {
			t.Fatal(err)
		}
		gitIn(t, dir, "add", "-A")
		gitIn(t, dir, "commit", "-q", "-m", text)
	}
	gitIn(t, dir, "tag", "-m", "first", "v1", "HEAD^")
	gitIn(t, dir, "branch", "side", "HEAD^")
	gitIn(t, dir, "update-ref", "refs/keep-around/x", "HEAD")
	return dir
}

// refsOf lists what for-each-ref says of a repository, with HEAD.
func refsOf(t *testing.T, dir string, patterns ...string) string {
	t.Helper()
	return gitIn(t, dir, append([]string{"for-each-ref", "--format=%(objectname) %(refname)"}, patterns...)...) +
		"\n" + gitIn(t, dir, "symbolic-ref", "HEAD")
}

// assertNoTemp fails if something is left in our temporary directory.
func (b *bundle) assertNoTemp(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(b.dir, "+gitaly/tmp/*")); len(left) > 0 {
		t.Errorf("left in the temporary directory: %q", left)
	}
}

// assertLog fails if gitaly's log has a text that must not be there.
func (b *bundle) assertUntold(t *testing.T, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(b.log.String(), s) {
			t.Errorf("the log tells %q", s)
		}
	}
}

func (b *bundle) repos() gitalypb.RepositoryServiceClient {
	return gitalypb.NewRepositoryServiceClient(b.conn)
}
