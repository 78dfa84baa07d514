package inside_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/ctl/internal/inside"
)

func run(home string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = inside.Main(args, inside.System{
		Home: home, Compose: "compose", Stdout: &out, Stderr: &errs,
		Exec: func(program string, args, _ []string) error {
			_, err := out.WriteString(program + " " + strings.Join(args[1:], " "))
			return err
		},
	})
	return code, out.String(), errs.String()
}

func TestMain_commands(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "secrets", "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"credentials": "hello\n", "initial_root_token": "glpat-x\n", "tls/ca.crt": "PEM\n"} {
		if err := os.WriteFile(filepath.Join(home, "secrets", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rails := "/usr/local/bin/rails-api -config " + home + "/config/rails-api.yml "
	cases := []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"credentials", 0, "hello\n", ""},
		{"show token", 0, "glpat-x\n", ""},
		{"show ca", 0, "PEM\n", ""},
		{"show password", 1, "", "no such file"},
		{"show database_url", 2, "", "one of: password"},
		{"show", 2, "", "usage"},
		{"", 2, "", "gitsplit admin"},
		{"admin user list", 0, rails + "admin user list", ""},
		{"project move a/b second", 0, rails + "admin project move a/b second", ""},
		{"backup --passphrase-file - backups/", 0, rails + "backup --secrets " + home + "/secrets --passphrase-file - backups/", ""},
		{"restore x.tar", 0, rails + "restore --secrets " + home + "/secrets --next compose up -d x.tar", ""},
		{"doctor --json", 0, rails + "doctor --json", ""},
		{"doctor --reconcile a/b", 0, rails + "reconcile a/b", ""},
		{"healthcheck 127.0.0.1:1", 1, "", "refused"},
	}
	for _, tc := range cases {
		code, stdout, stderr := run(home, strings.Fields(tc.args)...)
		if tc.stderr == "usage" {
			tc.stderr = "gitsplit, inside"
		}
		if code != tc.code || stdout != tc.stdout || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("%q: %d %q %q", tc.args, code, stdout, stderr)
		}
	}
}

func TestMain_healthcheck(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/readiness" {
			t.Errorf("asked for %s", r.URL.Path)
		}
	}))
	t.Cleanup(srv.Close)
	if code, _, stderr := run("", "healthcheck", srv.Listener.Addr().String()); code != 0 {
		t.Errorf("a ready service: %d %s", code, stderr)
	}
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"reason":"database: gone"}`, http.StatusServiceUnavailable)
	}))
	t.Cleanup(bad.Close)
	if code, _, stderr := run("", "healthcheck", bad.Listener.Addr().String()); code != 1 || !strings.Contains(stderr, "database: gone") {
		t.Errorf("one that is not: %d %s", code, stderr)
	}
}
