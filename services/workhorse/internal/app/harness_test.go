package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
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

	"gitsplit/kit/apijwt"
	"gitsplit/kit/config"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/app"
)

// patience bounds a test that hangs.
const patience = 30 * time.Second

// TestMain points git's configuration at nothing, and fails when goroutines of
// the tests are left.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false",
		"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	if err := os.Unsetenv("GIT_SSL_CAINFO"); err != nil { // it would win over http.sslCAInfo
		panic(err)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before && code == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Printf("%d goroutines are left of %d:\n%s\n", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// fakeRails answers for one project, /g/app, and echoes the rest. Functions, when
// set, replace the former or the latter.
type fakeRails struct {
	t        testing.TB
	socket   string
	secret   []byte
	gitaly   *fakeGitaly
	all      func(w http.ResponseWriter, r *http.Request) // instead of everything
	preauth  func(w http.ResponseWriter, r *http.Request)
	proxied  func(w http.ResponseWriter, r *http.Request)
	answer   map[string]any // laid over the usual answer
	server   *http.Server
	done     chan struct{}
	mu       sync.Mutex
	requests []*http.Request
}

func (f *fakeRails) start() {
	f.t.Helper()
	ln, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatalf("listen: %v", err)
	}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: patience}
	f.done = make(chan struct{})
	go func() {
		defer close(f.done)
		_ = f.server.Serve(ln)
	}()
}

func (f *fakeRails) stop() {
	_ = f.server.Close()
	<-f.done
}

func (f *fakeRails) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if f.all != nil {
		f.all(w, r)
		return
	}
	w.Header().Set("X-Request-Id", "rails' own copy")
	token := r.Header.Get(apijwt.WorkhorseHeader)
	switch {
	case !strings.HasPrefix(r.URL.Path, "/g/app.git/") && f.proxied != nil:
		f.proxied(w, r)
	case !strings.HasPrefix(r.URL.Path, "/g/app.git/"):
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
	case apijwt.Verify([][]byte{f.secret}, apijwt.WorkhorseIssuer, token, time.Now()) != nil:
		http.Error(w, "no token", http.StatusForbidden)
	case f.preauth != nil:
		f.preauth(w, r)
	default:
		f.permit(w, r)
	}
}

// permit lets root do everything and nobody else anything.
func (f *fakeRails) permit(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user != "root" || password != "password" {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitLab"`)
		http.Error(w, "HTTP Basic: Access denied", http.StatusUnauthorized)
		return
	}
	answer := map[string]any{
		"GL_ID": "user-1", "GL_USERNAME": "root", "GL_REPOSITORY": "project-1", "ShowAllRefs": false,
		"Repository": map[string]any{"storage_name": "default", "relative_path": "@hashed/aa/bb.git",
			"gl_repository": "project-1", "gl_project_path": "g/app"},
		"GitConfigOptions": []string{"receive.maxInputSize=1000"},
		"GitalyServer": map[string]any{"address": f.gitaly.address, "token": gitalyToken,
			"call_metadata": map[string]string{"user_id": "user-1", "username": "root", "gitaly-feature-x": "true", "secret": "s"}},
	}
	for key, value := range f.answer {
		answer[key] = value
	}
	w.Header().Set("Content-Type", api.MediaType+"; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer)
}

// last returns the last request that rails-api got.
func (f *fakeRails) last() *http.Request {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		f.t.Fatal("rails-api was not asked")
	}
	return f.requests[len(f.requests)-1]
}

// setup is a running workhorse between its fakes.
type setup struct {
	t        testing.TB
	rails    *fakeRails
	gitaly   *fakeGitaly
	addr     string     // of the public listener
	addrs    []net.Addr // of all public listeners
	internal string     // socket of the internal listener
	probes   string     // socket of metrics and probes
	secret   string     // file of the secret
	log      *syncBuffer
	stop     func() error
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

// start runs workhorse with the configuration that change leaves.
func start(t testing.TB, change func(*app.Config)) *setup {
	t.Helper()
	dir := t.TempDir()
	s := &setup{t: t, gitaly: startGitaly(t), log: &syncBuffer{}, internal: filepath.Join(dir, "i.sock"), probes: filepath.Join(dir, "m.sock")}
	secret := bytes.Repeat([]byte{7}, 32)
	s.rails = &fakeRails{t: t, socket: filepath.Join(dir, "r.sock"), secret: secret, gitaly: s.gitaly}
	s.rails.start()
	t.Cleanup(s.rails.stop)
	c := app.Defaults()
	c.ListenAddr = "127.0.0.1:0"
	c.AuthSocket = s.rails.socket
	c.Internal = app.Listener{Network: "unix", Addr: s.internal}
	c.PrometheusListenAddr = "unix:" + s.probes
	s.secret = filepath.Join(dir, "secret")
	c.SecretPath = s.secret
	c.Git.TempDir = t.TempDir()
	c.Git.DrainTimeout = config.Duration(5 * time.Second)
	if err := os.WriteFile(c.SecretPath, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	s.run(c)
	return s
}

func (s *setup) run(c app.Config) {
	s.t.Helper()
	log, err := logging.New(s.log, logging.Options{Service: "gitlab-workhorse", Level: "debug"})
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := app.New(s.t.Context(), c, log)
	if err != nil {
		s.t.Fatalf("app.New: %v", err)
	}
	s.addr, s.addrs = a.Addr().String(), a.Addrs()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.t.Cleanup(func() {
		if err := s.stop(); err != nil {
			s.t.Errorf("Run: %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("log of workhorse:\n%s", s.log)
		}
	})
}

// client returns an HTTP client that keeps nothing, for the public listener or,
// with a socket, for that one.
func client(t testing.TB, socket string) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableCompression: true}
	if socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// do sends a request as root and returns the answer with its body.
func (s *setup) do(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base()+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth("root", "password")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(s.t, client(s.t, ""), req)
}

func send(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer to %s %s: %v", req.Method, req.URL, err)
	}
	return res, string(text)
}

// metric returns the lines of workhorse's metrics that begin with a name.
func (s *setup) metric(name string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", "http://unix/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_, text := send(s.t, client(s.t, s.probes), req)
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "gitlab_workhorse_"+name) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// at returns the address of the public listener. What the test has told the fakes
// so far is seen by the requests to come: the fakes lock the same mutexes first.
func (s *setup) at() string {
	for _, mu := range []*sync.Mutex{&s.rails.mu, &s.gitaly.mu} {
		mu.Lock()
		mu.Unlock() //nolint:staticcheck // only the order matters
	}
	return s.addr
}

// base returns the URL of the public listener.
func (s *setup) base() string { return "http://" + s.at() }

// remote is the project's URL with root's password.
func (s *setup) remote() string { return "http://root:password@" + s.at() + "/g/app.git" }

// git runs git and returns both outputs; it must succeed.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(t, dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryGit(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
