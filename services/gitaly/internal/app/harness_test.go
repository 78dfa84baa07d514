package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/config"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/kit/netx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

const secretText = "0123456789abcdef0123456789abcdef"

// bundle is a running gitaly with a fake internal API behind and a client before it.
type bundle struct {
	api     *fakeAPI
	cfg     app.Config
	address string
	dir     string // of the one storage
	conn    *grpc.ClientConn
	log     *syncBuffer
	stop    func() error
	hangUp  func() // closes the connections to the internal API
}

// fakeAPI answers yes to everything and writes down what it was asked.
type fakeAPI struct {
	mu       sync.Mutex
	asked    []string
	bodies   []map[string]any
	allowed  http.HandlerFunc // nil is yes
	preRecv  http.HandlerFunc
	postRecv http.HandlerFunc
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var body map[string]any
	_ = json.Unmarshal(raw, &body)
	path := strings.TrimPrefix(r.URL.Path, internalapi.Prefix)
	f.mu.Lock()
	f.asked, f.bodies = append(f.asked, path+" "+r.Header.Get("X-Request-Id")), append(f.bodies, body)
	h := map[string]http.HandlerFunc{"/allowed": f.allowed, "/pre_receive": f.preRecv, "/post_receive": f.postRecv}[path]
	f.mu.Unlock()
	if h == nil {
		h = reply(200, `{"status":true,"reference_counter_increased":true,"reference_counter_decreased":true,"messages":[]}`)
	}
	h(w, r)
}

func (f *fakeAPI) steps() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeAPI) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// short is a directory whose name leaves room for socket names.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// setup starts a gitaly; alter changes its configuration first.
func setup(t testing.TB, alter ...func(*app.Config)) *bundle {
	t.Helper()
	b := prepare(t, alter...)
	b.start(t)
	b.connect(t)
	return b
}

// prepare makes all but gitaly itself.
func prepare(t testing.TB, alter ...func(*app.Config)) *bundle {
	t.Helper()
	dir := short(t)
	b := &bundle{api: &fakeAPI{}, log: &syncBuffer{}, dir: filepath.Join(dir, "repos"), address: "unix:" + dir + "/gitaly.sock"}
	apiAddr := filepath.Join(dir, "api.sock")
	ln, err := netx.Listen("unix:" + apiAddr)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(b.api)
	srv.Listener = ln
	srv.Start()
	b.hangUp = srv.CloseClientConnections
	t.Cleanup(srv.Close)
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.cfg = app.DefaultConfig()
	b.cfg.SocketPath, b.cfg.RuntimeDir, b.cfg.BinDir = b.address, dir, hooksDir
	b.cfg.Storages = []app.Storage{{Name: "default", Path: b.dir}}
	b.cfg.Auth.Token, b.cfg.GitLab.Secret = secretText, secretText
	b.cfg.GracefulRestartTimeout = config.Duration(time.Second)
	b.cfg.DailyMaintenance.Disabled = true // tests run at noon, too
	b.cfg.GitLab.URL = "http+unix://" + url.PathEscape(apiAddr)
	for _, a := range alter {
		a(&b.cfg)
	}
	return b
}

// connect makes the client.
func (b *bundle) connect(t testing.TB) {
	t.Helper()
	pool := gitalyclient.NewPool(gitalyclient.Options{ClientName: "test"})
	t.Cleanup(func() { _ = pool.Close() })
	conn, err := pool.Conn(b.address, secretText)
	if err != nil {
		t.Fatal(err)
	}
	b.conn = conn
}

// start runs gitaly until the test's end, or until b.stop.
func (b *bundle) start(t testing.TB) {
	t.Helper()
	log, err := logging.New(b.log, logging.Options{Service: "gitaly", Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), b.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	b.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("gitaly's log:\n%s", b.log)
		}
	})
}

func repository(rel string) *gitalypb.Repository {
	return &gitalypb.Repository{StorageName: "default", RelativePath: rel, GlRepository: "project-1", GlProjectPath: "team/tool"}
}

// create makes a repository in gitaly.
func (b *bundle) create(t testing.TB, rel string) string {
	t.Helper()
	_, err := gitalypb.NewRepositoryServiceClient(b.conn).CreateRepository(t.Context(), &gitalypb.CreateRepositoryRequest{
		Repository: repository(rel), DefaultBranch: []byte("main"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(b.dir, rel)
}

// client is a working copy whose ssh is the bridge.
type client struct {
	dir string
	env []string
}

func (b *bundle) client(t testing.TB) *client {
	t.Helper()
	c := &client{dir: t.TempDir()}
	c.env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GIT_") }),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "HOME="+c.dir, "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com",
		"GIT_SSH_COMMAND="+os.Args[0], "GIT_SSH_VARIANT=ssh", bridgeKey+"="+b.address,
		"GORACE=atexit_sleep_ms=0") // else the bridge, under the race detector, ends a second late
	c.git(t, "init", "-q", "-b", "main")
	return c
}

// command returns a git command that has not started.
func (c *client) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	return cmd
}

// try runs git and returns all it printed.
func (c *client) try(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := c.command(t.Context(), args...).CombinedOutput()
	return string(out), err
}

func (c *client) git(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// commit writes a file and commits it.
func (c *client) commit(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c.git(t, "add", "-A")
	c.git(t, "commit", "-q", "-m", "add "+name)
	return c.git(t, "rev-parse", "HEAD")
}

func remote(rel string) string { return "ssh://git@gitaly/" + rel }

// assertClean looks for what an ended push must not leave, and for damage. Housekeeping,
// which begins after some writes, has locks of its own and replaces packs under git's
// eyes: what it may have caused must go.
func (b *bundle) assertClean(t testing.TB, dir string) {
	t.Helper()
	left := func(patterns ...string) (all []string) {
		for _, pattern := range patterns {
			found, _ := filepath.Glob(filepath.Join(dir, pattern))
			all = append(all, found...)
		}
		return all
	}
	if found := left("objects/tmp_objdir-*", "objects/pack/*.keep"); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	eventually(t, "no locks", func() bool { return len(left("refs/heads/*.lock", "*.lock", "objects/pack/tmp_*")) == 0 })
	var out []byte
	eventually(t, "sound", func() bool {
		var err error
		out, err = exec.CommandContext(t.Context(), "git", "--git-dir", dir, "fsck", "--strict").CombinedOutput()
		return err == nil
	})
	if t.Failed() {
		t.Logf("fsck: %s", out)
	}
}

func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}
