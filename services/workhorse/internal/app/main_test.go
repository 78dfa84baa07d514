package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"gitsplit/services/workhorse/internal/app"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestMain_exitCodes(t *testing.T) {
	t.Parallel()
	good := write(t, "c.toml", `
shutdown_timeout = "60s"
trusted_cidrs_for_x_forwarded_for = ["10.0.0.0/8"]
[[listeners]]
network = "tcp"
addr = "127.0.0.1:0"
[internal_listener]
network = "unix"
addr = "/run/i.sock"
[git]
upload_pack_body_limit = 1000
upload_pack_body_timeout = "5m"
`)
	bad := write(t, "bad.toml", `
shutdown_timeout = "-1s"
trusted_cidrs_for_x_forwarded_for = ["everyone"]
trusted_cidrs_for_propagation = ["10.0.0.0/99"]
listen_network = "udp"
auth_backend = "ftp://x"
secret_path = ""
proxy_body_limit = -1
log_level = "loud"
log_format = "xml"
listen_umask = "01000"
prometheus_listen_addr = "nowhere"
[[listeners]]
network = "tcp"
addr = "nowhere"
[internal_listener]
network = "unix"
[git]
inflate_ratio = -1
[metrics_listener]
network = "tcp"
`)
	cases := []struct {
		name    string
		args    []string
		env     []string
		code    int
		out     string
		problem []string
	}{
		{name: "version", args: []string{"-version"}, out: "gitlab-workhorse dev\n"},
		{name: "help", args: []string{"-help"}, problem: []string{"-authSocket"}},
		{name: "defaults", args: []string{"-check-config"}, out: "configuration ok\n"},
		{name: "two dashes", args: []string{"--check-config", "--config=" + good}, out: "configuration ok\n"},
		{name: "unknown flag", args: []string{"-frob"}, code: 2, problem: []string{"-frob"}},
		{name: "left-over argument", args: []string{"-check-config", "x"}, code: 2, problem: []string{`unexpected argument "x"`}},
		{name: "no such file", args: []string{"-config", "/nonexistent.toml"}, code: 2, problem: []string{"/nonexistent.toml"}},
		{name: "unknown key", args: []string{"-config", write(t, "u.toml", "frob = 1\n")}, code: 2, problem: []string{`unknown key "frob"`}},
		{name: "no toml", args: []string{"-config", write(t, "n.toml", "= =\n")}, code: 2, problem: []string{"line 1"}},
		{name: "every fault", args: []string{"-config", bad}, code: 2, problem: []string{"shutdown_timeout: ", "trusted_cidrs_for_x_forwarded_for: ",
			"trusted_cidrs_for_propagation: ", `network "udp"`, "auth_backend", "secret_path: ", "proxy_body_limit: ", "log_level: ", `log_format: "xml": want json, structured, text or none`,
			"listen_umask: ", `metrics_listener: address ""`, "metrics_listener: prometheus_listen_addr is set too",
			"prometheus_listen_addr: ", "listeners[0]: ", "internal_listener: ", "git.inflate_ratio: "}},
		{name: "every fault of TLS", args: []string{"-config", write(t, "tls.toml", badTLS)}, code: 2, problem: []string{
			"listeners[1].tls: certificate \"/nonexistent\"", "listeners[1].tls: certificate \"/nonexistent\", key \"\"",
			`listeners[2].tls: automatic: "magic": want local or acme`, `min_version: "tls1.1": want tls1.2 or tls1.3`, `max_version: "x"`,
			"listeners[3].tls: automatic: there are files", "max_version: is older", "internal_listener.tls: neither certificate and key nor automatic",
			"local_authority: directory: is empty", "names: ",
			"acme: storage: is empty", "domains: ", `directory: "http://ca.test": want a URL of https`, `redirect_to_https: "https://h/path": want`, "hsts_max_age: "}},
		{name: "bad environment", args: []string{"-check-config"}, env: []string{"WORKHORSE_SHUTDOWN_TIMEOUT", "soon"}, code: 2,
			problem: []string{"WORKHORSE_SHUTDOWN_TIMEOUT"}},
		{name: "flag over environment", args: []string{"-check-config", "-authBackend", "http://x"}, env: []string{"WORKHORSE_AUTH_BACKEND", "bad"},
			out: "configuration ok\n"},
		{name: "environment over file", args: []string{"-check-config", "-config", good}, env: []string{"WORKHORSE_AUTH_BACKEND", "bad"}, code: 2,
			problem: []string{"auth_backend"}},
		{name: "no secret", args: []string{"-secretPath", "/nonexistent", "-listenAddr", "127.0.0.1:0"}, code: 1, problem: []string{"/nonexistent"}},
		{name: "short secret", args: []string{"-secretPath", write(t, "s", "c2hvcnQ=")}, code: 1, problem: []string{"secret file"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := app.Main(t.Context(), tc.args, env(tc.env...), &stdout, &stderr)
			if code != tc.code || stdout.String() != tc.out {
				t.Errorf("exit code %d, output %q; want %d, %q\n%s", code, stdout.String(), tc.code, tc.out, stderr.String())
			}
			for _, want := range tc.problem {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in %q", want, stderr.String())
				}
			}
		})
	}
}

// The command runs with listeners of every kind, tells its health, and stops with
// its context.
func TestMain_run(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gitaly := startGitaly(t)
	rails := &fakeRails{t: t, socket: filepath.Join(dir, "r.sock"), secret: bytes.Repeat([]byte{1}, 32), gitaly: gitaly}
	public, internal, metrics := filepath.Join(dir, "p.sock"), filepath.Join(dir, "i.sock"), filepath.Join(dir, "m.sock")
	file := write(t, "c.toml", "[internal_listener]\nnetwork = \"unix\"\naddr = \""+internal+"\"\n[[listeners]]\nnetwork = \"tcp4\"\naddr = \"127.0.0.1:0\"\n")
	secret := write(t, "secret", base64.StdEncoding.EncodeToString(rails.secret))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &syncBuffer{}
	code := make(chan int, 1)
	go func() {
		code <- app.Main(ctx, []string{"-config", file, "-secretPath", secret, "-listenNetwork", "unix", "-listenAddr", public,
			"-authSocket", rails.socket, "-prometheusListenAddr", "unix:" + metrics}, env(), io.Discard, log)
	}()
	ready := func(want int) {
		t.Helper()
		for {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://unix/-/readiness", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := client(t, metrics).Do(req); err == nil {
				_ = res.Body.Close()
				if res.StatusCode == want {
					return
				}
			}
			select {
			case c := <-code:
				t.Fatalf("exit code %d\n%s", c, log)
			case <-t.Context().Done():
				t.Fatalf("not %d in time", want)
			default:
			}
		}
	}
	ready(503)
	rails.start()
	t.Cleanup(rails.stop)
	ready(200)
	for socket, path := range map[string]string{public: "/a", internal: "/api/v4/internal/check", metrics: "/metrics"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://unix"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, body := send(t, client(t, socket), req)
		if res.StatusCode != 200 {
			t.Errorf("GET %s: %d %q", path, res.StatusCode, body)
		}
		if path == "/metrics" && !strings.Contains(body, "gitlab_workhorse_git_http_sessions_active 0") {
			t.Errorf("metrics: %q", body)
		}
		if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket %s: %v, %v", socket, info.Mode(), err)
		}
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d\n%s", c, log)
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line %q is no JSON", line)
		}
	}
}

// Redis in every form, and no password in the log.
func TestConfig_redis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		redis app.Redis
		good  bool
	}{
		{app.Redis{URL: "unix:/run/r.sock"}, true},
		{app.Redis{URL: "unix:///run/r.sock"}, true},
		{app.Redis{URL: "tcp://h:6379"}, true},
		{app.Redis{URL: "redis://u:hunter2@h:6379/3"}, true},
		{app.Redis{URL: "rediss://h", Password: "hunter2", MaxIdle: 1, MaxActive: 10}, true},
		{app.Redis{Sentinel: []string{"redis://h:26379", "i:26379"}, SentinelMaster: "m", SentinelPassword: "hunter2"}, true},
		{app.Redis{URL: "http://h"}, false},
		{app.Redis{URL: "unix:"}, false},
		{app.Redis{URL: "redis://u:hunter2@h:x"}, false},
		{app.Redis{Sentinel: []string{"h:1"}}, false},
	} {
		c := app.Defaults()
		c.Redis = tc.redis
		err := c.Validate()
		if (err == nil) != tc.good {
			t.Errorf("%+v: %v", tc.redis, err)
		}
		shown, jsonErr := json.Marshal(c)
		if jsonErr != nil {
			t.Fatal(jsonErr)
		}
		if err != nil {
			shown = append(shown, err.Error()...)
		}
		if strings.Contains(string(shown), "hunter2") {
			t.Errorf("the password is shown: %s", shown)
		}
	}
}

const badTLS = `
redirect_to_https = "https://h/path"
hsts_max_age = "-1s"
[acme]
directory = "http://ca.test"
[[listeners]]
network = "tcp"
addr = ":1"
[listeners.tls]
automatic = "acme"
[[listeners]]
network = "tcp"
addr = ":1"
[listeners.tls]
certificate = "/nonexistent"
[[listeners]]
network = "tcp"
addr = ":1"
[listeners.tls]
automatic = "magic"
min_version = "tls1.1"
max_version = "x"
[[listeners]]
network = "tcp"
addr = ":1"
[listeners.tls]
automatic = "local"
key = "/x"
min_version = "tls1.3"
max_version = "tls1.2"
[internal_listener]
network = "tcp"
addr = ":1"
[internal_listener.tls]
max_version = "tls1.3"
`

// The log goes where the flags say, in the form that they say.
func TestMain_log(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"msg":"stopped"`, "structured": "msg=stopped", "text": "", "none": ""} {
		dir := t.TempDir()
		file := filepath.Join(dir, "log")
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it starts and stops
		var stderr bytes.Buffer
		code := app.Main(ctx, []string{"-logFile", file, "-logFormat", format, "-listenNetwork", "unix", "-listenAddr", filepath.Join(dir, "s"),
			"-secretPath", write(t, "secret", base64.StdEncoding.EncodeToString(make([]byte, 32))), "-authSocket", filepath.Join(dir, "r")}, env(), io.Discard, &stderr)
		if code != 0 || (stderr.Len() > 0) != (format == "text") {
			t.Errorf("%s: exit code %d, stderr %q", format, code, stderr.String())
		}
		text, err := os.ReadFile(file)
		if (format == "none") != os.IsNotExist(err) || !strings.Contains(string(text), want) {
			t.Errorf("%s: the log is %q, %v", format, text, err)
		}
	}
	var stderr bytes.Buffer
	code := app.Main(t.Context(), []string{"-logFile", "/nonexistent/log"}, env(), io.Discard, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "log_file: open /nonexistent/log") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// Lines of the form that Apache's servers write, whatever clients say.
func TestMain_combined(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "log"), filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- app.Main(ctx, []string{"-logFile", file, "-logFormat", "text", "-listenNetwork", "unix", "-listenAddr", socket, "-listenUmask", "0",
			"-secretPath", write(t, "secret", base64.StdEncoding.EncodeToString(make([]byte, 32))), "-authSocket", filepath.Join(dir, "r")}, env(), io.Discard, io.Discard)
	}()
	await(t, socket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	for _, target := range []string{"/a%22b?private_token=hush", "http:x"} {
		answer := exchange(t, "unix", socket, "GET "+target+" HTTP/1.1\r\nHost: h\r\nUser-Agent: x\" y\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "502") && !strings.HasPrefix(answer, "400") {
			t.Errorf("answer %q", answer)
		}
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	text, err := os.ReadFile(file)
	want := `^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a%22b\?private_token=\[FILTERED\] HTTP/1\.1" 502 24 "-" "x\\" y"
- - - \[.*\] "GET http:x HTTP/1\.1" 400 12 "-" "x\\" y"
$`
	if err != nil || !regexp.MustCompile(want).Match(text) {
		t.Errorf("the log is %q, %v", text, err)
	}
}

// await waits until a socket answers.
func await(t *testing.T, socket string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
