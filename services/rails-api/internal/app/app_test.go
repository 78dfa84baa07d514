package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/services/rails-api/internal/app"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/redistest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// home is a directory with configuration and secrets.
type home struct {
	tb   testing.TB
	dir  string
	env  map[string]string
	logs *railstest.Buffer
}

func newHome(tb testing.TB) *home {
	tb.Helper()
	dir, err := os.MkdirTemp("", "railsapi") // a test's TempDir may be too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &home{tb: tb, dir: dir, logs: &railstest.Buffer{}, env: map[string]string{}}
	h.file("shell", strings.Repeat("s", 32))
	h.file("workhorse", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	h.file("database", strings.Repeat("d", 32))
	h.file("password", "correct horse")
	h.file("token", "glpat-abcdefghijklmnopqrstuvwxyz")
	h.file("rails-api.yml", fmt.Sprintf(`
listen: unix:%[1]s/api.sock
probe_listen: unix:%[1]s/probe.sock
sidekiq_probe_listen: unix:%[1]s/sidekiq-probe.sock
external_url: http://git.example.test:8080/
ssh_host: git.example.test
ssh_port: 2222
shell_secret_file: %[1]s/shell
workhorse_secret_file: %[1]s/workhorse
database_key_file: %[1]s/database
storages: [{name: default, gitaly_address: "unix:%[1]s/gitaly.sock", weight: 1}]
initial_root_password_file: %[1]s/password
initial_root_token_file: %[1]s/token
database_url: postgres:///none?host=%[1]s
redis_url: unix://%[1]s/redis.sock
shutdown_grace: 2s
`, dir))
	return h
}

func (h *home) file(name, text string) {
	h.tb.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.tb.Fatal(err)
	}
}

func (h *home) lookup(name string) (string, bool) {
	v, ok := h.env[name]
	return v, ok
}

type program func(ctx context.Context, args []string, env func(string) (string, bool), stderr io.Writer) error

// start runs a program until the test, or the function it returns, ends it.
func (h *home) start(run program, args ...string) (stop func() error) {
	h.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-config", filepath.Join(h.dir, "rails-api.yml")}, args...), h.lookup, h.logs)
	}()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	h.tb.Cleanup(func() {
		if err := stop(); err != nil {
			h.tb.Errorf("stop: %v\n%s", err, h.logs)
		}
	})
	return stop
}

func (h *home) get(socket, path, token string) (int, string) {
	h.tb.Helper()
	return h.send(socket, path, "Private-Token", token)
}

// send asks with one header.
func (h *home) send(socket, path, header, value string) (int, string) {
	h.tb.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.dir, socket))
	}}}
	r, err := http.NewRequestWithContext(h.tb.Context(), http.MethodGet, "http://unix"+path, nil)
	if err != nil {
		h.tb.Fatal(err)
	}
	r.Header.Set(header, value)
	res, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.tb.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// await asks until the status is the wanted one.
func (h *home) await(socket, path string, want int) {
	h.tb.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body := h.get(socket, path, "")
		if status == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			h.tb.Fatalf("%s: still %d %s, want %d", path, status, body, want)
		}
	}
}

func TestMain_serves(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server, redis := gitalytest.New(t), redistest.New(t)
	h.env["RAILS_API_DATABASE_URL"] = pgtest.Empty(t, "serves")
	h.env["RAILS_API_REDIS_URL"] = "unix://" + redis.Options().Addr
	storage, err := server.Client(t).Storage("default")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.TrimPrefix(storage.Address, "unix:"), filepath.Join(h.dir, "gitaly.sock")); err != nil {
		t.Fatal(err)
	}
	stop := h.start(app.Main)
	h.start(app.MainSidekiq)
	h.await("probe.sock", "/-/readiness", 200)
	h.await("sidekiq-probe.sock", "/-/readiness", 200)
	h.await("api.sock", "/-/readiness", 200)
	for path, want := range map[string]string{
		"/-/health": "200 GitLab OK", "/-/liveness": `200 {"status":"ok"}`, "/-/readiness": `200 {"status":"ok"}`, "/api/v4/geo/proxy": `200 {"geo_enabled":false}`,
		"/nothing": "404 Not Found\n", "/api/v4/nothing": `404 {"error":"404 Not Found"}`, "/api/v4/internal/check": `401 {"message":"401 Unauthorized"}`,
	} {
		status, body := h.get("api.sock", path, "")
		if got := fmt.Sprintf("%d %s", status, body); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if status, body := h.get("api.sock", "/api/v4/user", "glpat-abcdefghijklmnopqrstuvwxyz"); status != 200 || !strings.Contains(body, `"username":"root"`) {
		t.Errorf("the first account: %d %s", status, body)
	}
	if status, body := h.get("probe.sock", "/metrics", ""); status != 200 || !strings.Contains(body, `http_request_duration_seconds_count{route="/-/health",status="200"} 1`) {
		t.Errorf("metrics: %d %s", status, body)
	}
	server.Stop()
	h.await("api.sock", "/-/readiness", 503) // the chain needs a storage
	h.await("probe.sock", "/-/readiness", 200)
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !strings.Contains(h.logs.String(), `"route":"/api/v4/user"`) || strings.Contains(h.logs.String(), "glpat-") {
		t.Errorf("log: %s", h.logs)
	}
}

func TestMain_waitsForDatabase(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.start(app.Main)
	h.await("probe.sock", "/-/liveness", 200)
	h.await("probe.sock", "/-/readiness", 503)
	if status, _ := h.get("api.sock", "/-/health", ""); status != 0 {
		t.Errorf("the API answers %d without a database", status)
	}
}

func TestMain_seedsOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t, "seeds")
	for range 2 {
		h := newHome(t)
		h.env["RAILS_API_DATABASE_URL"] = url
		stop := h.start(app.Main)
		h.await("probe.sock", "/-/readiness", 200)
		if status, body := h.get("api.sock", "/api/v4/users/1", "glpat-abcdefghijklmnopqrstuvwxyz"); status != 200 || !strings.Contains(body, "Administrator") {
			t.Errorf("%d %s", status, body)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestMain_rotation: while a secret changes, callers with the new one and with the old one are heard; afterwards only the former.
// A caller whose clock is wrong reads so, if it has the secret.
func TestMain_rotation(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env["RAILS_API_DATABASE_URL"], h.env["RAILS_API_REDIS_URL"] = pgtest.Empty(t, "rotation"), "unix://"+redistest.New(t).Options().Addr
	older, newer := strings.Repeat("s", 32), strings.Repeat("n", 32)
	h.file("shell", newer)
	h.file("previous", older)
	check := func(key string, at time.Time) string {
		t.Helper()
		token, err := apijwt.Sign([]byte(key), apijwt.ShellIssuer, at)
		if err != nil {
			t.Fatal(err)
		}
		status, body := h.send("api.sock", "/api/v4/internal/check", apijwt.ShellHeader, token)
		if status == http.StatusOK {
			return "200"
		}
		return fmt.Sprintf("%d %s", status, body)
	}
	const refused = `401 {"message":"401 Unauthorized"}`
	for previous, want := range map[string]string{filepath.Join(h.dir, "previous"): "200", "": refused} {
		h.env["RAILS_API_SHELL_PREVIOUS_SECRET_FILE"] = previous
		stop := h.start(app.Main)
		h.await("probe.sock", "/-/readiness", 200)
		now := time.Now()
		for key, want := range map[string]string{newer: "200", older: want, strings.Repeat("x", 32): refused} {
			for _, skew := range []time.Duration{0, 50 * time.Second, -time.Minute} {
				if got := check(key, now.Add(skew)); got != want {
					t.Errorf("key %.1s, %v off: %s, want %s", key, skew, got, want)
				}
			}
		}
		if got := check(newer, now.Add(time.Hour)); !strings.HasPrefix(got, `401 {"message":"401 Unauthorized: the clocks of the two services differ: the caller's is `) {
			t.Errorf("an hour ahead: %s", got)
		}
		if got := check("of nobody, but long enough for one", now.Add(time.Hour)); got != refused {
			t.Errorf("an hour ahead without the secret: %s", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestMain_configuration(t *testing.T) {
	t.Parallel()
	run := func(h *home, args ...string) error {
		return app.Main(t.Context(), append([]string{"-config", filepath.Join(h.dir, "rails-api.yml")}, args...), h.lookup, h.logs)
	}
	if err := run(newHome(t), "-check-config"); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	t.Run("every fault is named", func(t *testing.T) {
		t.Parallel()
		h := newHome(t)
		h.file("rails-api.yml", "listen: nonsense\nexternal_url: ftp://x\nssh_port: 70000\nstorages: [{weight: -1}]\nshutdown_grace: 0s\nreceive_max_input_size: -1\ngit_two_factor_session_expiry: 0\ngitlab_shell_operation_limit: -1\n")
		err := run(h, "-check-config")
		for _, key := range []string{
			"listen", "external_url", "ssh_port", "storages[0].name", "storages[0].gitaly_address", "storages[0].weight", "shutdown_grace",
			"receive_max_input_size", "database_url", "redis_url", "shell_secret_file", "workhorse_secret_file", "ssh_host",
			"database_key_file", "git_two_factor_session_expiry", "gitlab_shell_operation_limit",
		} {
			if err == nil || !strings.Contains(err.Error(), key+": ") {
				t.Errorf("%s is not named in: %v", key, err)
			}
		}
	})
	for name, change := range map[string]func(*home){
		"unknown key":       func(h *home) { h.file("rails-api.yml", "nonsense: 1\n") },
		"no storages":       func(h *home) { h.file("rails-api.yml", "listen: unix:/x\n") },
		"short secret":      func(h *home) { h.file("shell", "short") },
		"database key":      func(h *home) { h.file("database", "short") },
		"workhorse secret":  func(h *home) { h.file("workhorse", "no base64 of 32 bytes") },
		"readable secret":   func(h *home) { _ = os.Chmod(filepath.Join(h.dir, "shell"), 0o644) },
		"database url":      func(h *home) { h.env["RAILS_API_DATABASE_URL"] = "postgres://%zz" },
		"redis url":         func(h *home) { h.env["RAILS_API_REDIS_URL"] = "http://x" },
		"log level":         func(h *home) { h.env["RAILS_API_LOG_LEVEL"] = "loud" },
		"occupied listener": func(h *home) { h.file("probe.sock", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			change(h)
			if err := run(h); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("started, or: %v", err)
			}
		})
	}
	if err := run(newHome(t), "nonsense"); err == nil {
		t.Error("an unknown command ran")
	}
}

// TestProcess_reconcile: the operator's command records what no push reported, and says so.
func TestProcess_reconcile(t *testing.T) {
	t.Parallel()
	h, b := newHome(t), railstest.New(t)
	storage, err := b.Gitaly.Storage("default")
	b.Must(err)
	b.Must(os.Symlink(strings.TrimPrefix(storage.Address, "unix:"), filepath.Join(h.dir, "gitaly.sock")))
	h.env["RAILS_API_DATABASE_URL"], h.env["RAILS_API_REDIS_URL"] = b.DB.Config().ConnString(), "unix://"+b.Redis.Options().Addr
	ns := b.User("ada").NamespaceID
	p, q := b.Inhabited(ns, "p", visibility.Private), b.Inhabited(ns, "q", visibility.Private)
	for _, repo := range []string{p.DiskPath, q.DiskPath} {
		b.Server.SetReferences(repo, map[string]string{"refs/heads/main": railstest.ID(2)})
	}
	b.Must(counter.New(b.Redis, b.Log, time.Now).Begin(t.Context(), q.GLRepository(), ""))
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"ada/p"}, 0, "ada/p: references that had moved without an event, recorded now: 1\nprojects compared: 1\n"},
		{[]string{"ada/p"}, 0, "projects compared: 1\n"},
		{nil, 1, "ada/q: not compared, since pushes are in flight; try again\nreconcile: 1 of 2 projects could not be compared\n"},
		{[]string{"ada/none"}, 1, "reconcile: ada/none: there is no such project\n"},
	} {
		var out bytes.Buffer
		args := append([]string{"-config", filepath.Join(h.dir, "rails-api.yml"), "reconcile"}, step.args...)
		code := app.Process(t.Context(), args, h.lookup, app.Streams{Out: &out, Err: &out})
		if code != step.code || out.String() != step.want {
			t.Errorf("%q: exit %d, %q; want %d, %q", step.args, code, &out, step.code, step.want)
		}
	}
}
