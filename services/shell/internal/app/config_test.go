package app_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/services/shell/internal/app"
	"gitsplit/services/shell/internal/shelltest"
)

// check runs gitlab-sshd -check-config on a configuration.
func check(t *testing.T, config, secret string, env map[string]string) error {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"config.yml": config, ".gitlab_shell_secret": secret} {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return app.Main(t.Context(), []string{"-config-dir", dir, "-check-config"}, lookup, io.Discard, io.Discard)
}

const minimal = "gitlab_url: http+unix://%2Frun%2Fapi.sock\n"

func TestConfig_accepted(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(other, []byte(shelltest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, config, secret string
		env                  map[string]string
	}{
		{"minimal", minimal, shelltest.Secret, nil},
		{"secret in the file", minimal + "secret: " + shelltest.Secret, "", nil},
		{"secret in the environment", minimal, "", map[string]string{"SHELL_SECRET": shelltest.Secret}},
		{"secret file in the environment", minimal, "", map[string]string{"SHELL_SECRET_FILE": other}},
		{"URL in the environment", "user: git", shelltest.Secret, map[string]string{"SHELL_GITLAB_URL": "http://localhost:1"}},
		{"GitLab's own variables", "user: git", "", map[string]string{"GITLAB_URL": "http://localhost:1", "GITLAB_SHELL_SECRET": shelltest.Secret, "GITLAB_LOG_FORMAT": "text"}},
		{"everything", minimal + `
user: git
gitlab_relative_url_root: /gitlab
secret_file: .gitlab_shell_secret
log_level: DEBUG
http_settings:
  read_timeout: 10
  user: proxy
  password: secret
  ca_file: /tmp/ca.pem
  ca_path: /tmp
ssl_cert_dir: /tmp
log_file: shell.log
log_format: text
pat:
  enabled: false
  allowed_scopes: [api]
sshd:
  listen: "[::]:2222"
  web_listen: ""
  concurrent_sessions_limit: 5
  max_connections: 100
  max_connections_per_address: 10
  client_alive_interval: 0
  grace_period: 500ms
  login_grace_time: 60
  readiness_probe: /a
  liveness_probe: /b
  host_key_files: [/tmp/x]
  host_cert_files: [x-cert.pub]
  trusted_user_ca_keys: [ca.pub]
  proxy_protocol: true
  proxy_policy: require
  proxy_allowed: [10.0.0.0/8, 192.0.2.1]
  proxy_header_timeout: 1s
  max_startups: "10:30:100"
  kex_algorithms: [ecdh-sha2-nistp256]
  ciphers: [aes192-ctr]
  macs: [hmac-sha2-512]
  public_key_algorithms: [ssh-ed25519]
`, shelltest.Secret, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if err := check(t, tc.config, tc.secret, tc.env); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestConfig_refused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, config, secret string
		want                 []string
	}{
		{"no file", "", shelltest.Secret, []string{"config.yml"}},
		{"unknown key", minimal + "colour: red\n", shelltest.Secret, []string{"colour"}},
		{"no secret", minimal, "", []string{".gitlab_shell_secret"}},
		{"short secret", minimal, "short", []string{"5 bytes"}},
		{"short secret in the file", minimal + "secret: short\n", "", []string{"secret: 5 bytes"}},
		{"bad duration", minimal + "sshd:\n  grace_period: soon\n", shelltest.Secret, []string{"soon"}},
		{"every fault at once", `
user: ""
log_level: loud
log_format: xml
http_settings:
  read_timeout: -1
sshd:
  listen: nowhere
  web_listen: nowhere
  concurrent_sessions_limit: 0
  max_connections: 0
  max_connections_per_address: -1
  grace_period: 0
  client_alive_interval: -1s
  login_grace_time: -1s
  readiness_probe: start
  liveness_probe: start
  host_key_files: []
  proxy_allowed: [everybody]
  proxy_header_timeout: 0
  max_startups: many
  ciphers: [rot13]
`, shelltest.Secret, []string{
			"user: required", "gitlab_url: required", "log_level", "log_format", "sshd.proxy_allowed", "sshd.proxy_header_timeout", "sshd.max_startups", "http_settings.read_timeout", "sshd.listen", "sshd.web_listen",
			"sshd.concurrent_sessions_limit", "sshd.max_connections:", "sshd.max_connections_per_address", "sshd.grace_period",
			"sshd.client_alive_interval", "sshd.login_grace_time", "sshd.readiness_probe", "sshd.liveness_probe: the same",
			"sshd.host_key_files", `sshd.ciphers: unknown algorithm "rot13"`,
		}},
		{"bad URL", "gitlab_url: ftp://x\n", shelltest.Secret, []string{"unknown GitLab URL prefix"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := check(t, tc.config, tc.secret, nil)
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want a fault about %q", err, want)
				}
			}
		})
	}
}

func TestMain_arguments(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := app.Main(t.Context(), []string{"-version"}, noEnv, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "gitlab-sshd ") {
		t.Errorf("-version: got %q (%v)", &out, err)
	}
	for _, args := range [][]string{nil, {"-config-dir"}, {"-config-dir", "x", "y"}, {"-nonsense"}} {
		if err := app.Main(t.Context(), args, noEnv, io.Discard, io.Discard); err == nil {
			t.Errorf("arguments %q were accepted", args)
		}
	}
}

// What was opened before a fault is closed again.
func TestMain_startFails(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.write(t, "config.yml", "gitlab_url: "+w.api.URL+"\nsecret_file: secret\nsshd:\n  listen: 127.0.0.1:0\n  web_listen: "+
		w.web+"\n  host_key_files: [host_ed25519]\n")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := app.Main(ctx, []string{"-config-dir", w.dir}, noEnv, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "sshd.web_listen") {
		t.Errorf("start on a port in use: got %v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	w.git(t, "", "ls-remote", w.url())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"gitlab_build_info{", "gitlab_shell_sshd_in_flight_connections ", "gitlab_shell_sshd_session_duration_seconds_count 1",
		"gitlab_shell_sshd_session_established_duration_seconds_count 1", "gitlab_shell_sshd_concurrent_limited_sessions_total 0",
		`gitlab_shell_gitaly_connections_total{status="ok"} 1`, `gitlab_shell_http_requests_total{code="200",method="post"} 1`,
		"gitlab_shell_http_in_flight_requests 0", "gitlab_shell_http_request_duration_seconds_bucket{", "gitlab_sli:shell_sshd_sessions:total", "gitlab_sli:shell_sshd_connections:total",
		"gitlab_sli:shell_sshd_sessions:errors_total", "gitlab_sli:shell_sshd_connections:errors_total",
		`grpc_client_handled_total{grpc_code="OK",grpc_method="SSHUploadPackWithSidechannel"`,
		`gitlab_shell_sshd_phase_duration_seconds_count{phase="handshake"} 1`, `gitlab_shell_sshd_phase_duration_seconds_count{phase="key"} 1`,
		`gitlab_shell_sshd_phase_duration_seconds_count{phase="access"} 1`, `gitlab_shell_sshd_phase_duration_seconds_count{phase="git"} 1`,
		`gitlab_shell_sshd_phase_duration_seconds_count{phase="finish"} 1`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in /metrics:\n%s", want, body)
		}
	}
}
