package services

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/pg"
	"gitsplit/ctl/internal/settings"
)

func plan(t *testing.T) Plan {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	return Plan{
		Home: h, Bin: "/opt/bin", Redis: "/usr/bin/redis-server", Postgres: pg.Cluster{Sockets: "/run/pg", Role: "git", Bin: "/pg"},
		Settings: settings.Settings{
			Bind: netip.MustParseAddr("127.0.0.1"), HTTPPort: 8080, HTTPSPort: 8443, SSHPort: 2222, ExternalURL: "http://h:8080", Host: "h",
		},
	}
}

// Every value that must be the same in two files is.
func TestWriteConfigs(t *testing.T) {
	t.Parallel()
	p := plan(t)
	if _, err := p.Home.MakeSecrets("correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteConfigs(); err != nil {
		t.Fatal(err)
	}
	wants := map[string][]string{
		"gitaly.toml":      {`socket_path = "` + p.Socket("gitaly"), p.InternalURL(), p.Home.Secret("gitlab_shell_secret")},
		"shell/config.yml": {`listen: "127.0.0.1:2222"`, p.InternalURL(), p.Home.Secret("ssh_host_ed25519_key"), p.Home.Secret("gitlab_shell_secret")},
		"workhorse.toml": {`addr = "` + p.Socket("workhorse-internal"), `addr = "127.0.0.1:8443"`, `directory = "` + p.Home.TLS(),
			`names = ["h", "localhost", "127.0.0.1", "::1"]`, `unfinished = ["` + p.Home.Data("objects") + "/tmp/uploads"},
		"rails-api.yml": {`gitaly_address: "unix:` + p.Socket("gitaly"), `database_url: "postgres:///gitsplit?host=/run/pg&user=git"`, "ssh_port: 2222", `object_storage: "file://` + p.Home.Data("objects") + `"`},
		"redis.conf":    {`unixsocket "` + p.Socket("redis")},
	}
	for name, parts := range wants {
		text, err := os.ReadFile(p.Home.Config(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s: no %q in:\n%s", name, part, text)
			}
		}
		for _, secret := range []string{home.RootPassword, home.RootToken, home.GitalyToken, home.ShellSecret} {
			value, err := p.Home.ReadSecret(secret)
			if err != nil || strings.Contains(string(text), value) {
				t.Errorf("%s holds %s (%v)", name, secret, err)
			}
		}
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	p := plan(t)
	p.Environ = []string{
		"PATH=/bin", "GITSPLIT_ROOT_PASSWORD=hunter2", "AWS_SECRET_ACCESS_KEY=hunter2", "SHELL=/bin/sh", "SHELL_LOG_LEVEL=debug",
		"GITALY_LOGGING_LEVEL=debug", "OTEL_SERVICE_NAME=x", "GOGC=50", "no equals sign",
	}
	var names []string
	for _, spec := range p.Specs() {
		names = append(names, spec.Name)
		text := strings.Join(append(spec.Env, spec.Args...), "\n")
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s is given a secret: %s", spec.Name, text)
		}
		if spec.Name == SSHD {
			want := []string{"GOGC=50", "GOMEMLIMIT=256MiB", "LANG=C.UTF-8", "OTEL_SERVICE_NAME=x", "PATH=/bin", "SHELL_LOG_LEVEL=debug"}
			if diff := cmp.Diff(want, spec.Env); diff != "" {
				t.Errorf("environment of sshd (-want +got):\n%s", diff)
			}
		}
	}
	if !slices.Equal(names, Names()) {
		t.Errorf("the specs are %v, the names %v", names, Names())
	}
}

// TestObjectStorage_bucket: the bucket is in the configuration, its credentials are
// given to those who open it, and never written.
func TestObjectStorage_bucket(t *testing.T) {
	t.Parallel()
	p := plan(t)
	p.Settings.ObjectStorage = "s3://bucket?region=x"
	p.Environ = []string{"AWS_SECRET_ACCESS_KEY=hunter2"}
	for _, spec := range p.Specs() {
		want := spec.Name == RailsAPI || spec.Name == Sidekiq
		if got := slices.Contains(spec.Env, p.Environ[0]); got != want {
			t.Errorf("%s has the credentials: %v", spec.Name, got)
		}
	}
	if _, err := p.Home.MakeSecrets("correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteConfigs(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.Home.Config("rails-api.yml"))
	if err != nil || !strings.Contains(string(text), `object_storage: "s3://bucket?region=x"`) || strings.Contains(string(text), "hunter2") {
		t.Errorf("rails-api.yml, %v:\n%s", err, text)
	}
}

// TestWriteConfigs_certificate writes where the certificate of HTTPS comes from.
func TestWriteConfigs_certificate(t *testing.T) {
	t.Parallel()
	for want, from := range map[string]settings.TLS{
		"certificate = \"/c.crt\"\nkey = \"/c.key\"\n":        {Cert: "/c.crt", Key: "/c.key"},
		"automatic = \"acme\"\n\n[acme]\ndomains = [\"h\"]\n": {ACMEEmail: "a@b.example"},
		"directory = \"https://ca.example\"\n":                {ACMEEmail: "a@b.example", ACMEDirectory: "https://ca.example"},
		"automatic = \"local\"\n":                             {},
	} {
		p := plan(t)
		p.Settings.TLS = from
		if err := p.WriteConfigs(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(p.Home.Config("workhorse.toml"))
		if err != nil || !strings.Contains(string(text), want) || strings.Contains(string(text), "automatic = \"local\"") != (from == settings.TLS{}) {
			t.Errorf("no %q, %v, in:\n%s", want, err, text)
		}
	}
}
