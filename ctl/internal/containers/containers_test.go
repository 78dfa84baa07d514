package containers_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/ctl/internal/containers"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
)

func load(h home.Home, env map[string]string) (containers.Plan, error) {
	set := settings.Settings{Bind: netip.MustParseAddr("127.0.0.1"), HTTPPort: 80, SSHPort: 22, ExternalURL: "http://h", Host: "h"}
	return containers.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok }, h, set)
}

// newHome returns one as the container of init finds it, with secrets and host keys.
func newHome(t *testing.T) home.Home {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"gitaly", "shell", "workhorse", "postgres", "redis"} {
		if err := os.MkdirAll(filepath.Join(h.Root, "share", service), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.MakeSecrets(""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.MakeHostKeys(); err != nil {
		t.Fatal(err)
	}
	return h
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPlan_Write(t *testing.T) {
	t.Parallel()
	p, err := load(newHome(t), map[string]string{containers.VarStorages: "default=gitaly:8075 second=gitaly-2:8075*7", containers.VarProxied: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	root := p.Home.Root
	for name, wants := range map[string][]string{
		"gitaly-default.toml": {`name = "default"`, "http://workhorse:8181"},
		"gitaly-second.toml":  {`name = "second"`},
		"rails-api.yml":       {"tcp://gitaly-2:8075", "weight: 7", "ssh_port: 22", `external_url: "http://h"`, `ssh: "gitlab-sshd:2222"`, "proxied: true"},
		"workhorse.toml":      {"proxy_protocol = true", `names = ["h", "localhost"`},
		"shell/config.yml":    {"proxy_policy: require", "ssh_host_ed25519_key"},
	} {
		text := read(t, root, "config", name)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in:\n%s", name, want, text)
			}
		}
		for _, secret := range []string{home.RootPassword, home.GitalyToken, home.ShellSecret, "database_password", "redis_password"} {
			if value := strings.TrimSpace(read(t, root, "secrets", secret)); strings.Contains(text, value) {
				t.Errorf("%s holds %s", name, secret)
			}
		}
	}
	redis := strings.TrimSpace(read(t, root, "secrets", "redis_password"))
	if !strings.Contains(read(t, root, "share", "redis", "redis.conf"), "requirepass "+redis+"\n") ||
		!strings.Contains(read(t, root, "secrets", "redis_url"), redis) || strings.TrimSpace(read(t, root, "share", "workhorse", "redis_password")) != redis {
		t.Error("Redis and its clients have different passwords")
	}
	database := strings.TrimSpace(read(t, root, "secrets", "database_password"))
	if !strings.Contains(read(t, root, "share", "postgres", "gitsplit.sql"), "'"+database+"'") ||
		!strings.Contains(read(t, root, "secrets", "database_url"), database) {
		t.Error("PostgreSQL and its clients have different passwords")
	}
	for service, not := range map[string]string{"gitaly": home.DatabaseKey, "shell": home.GitalyToken, "workhorse": home.ShellSecret} {
		if _, err := os.Stat(filepath.Join(root, "share", service, not)); err == nil {
			t.Errorf("%s may know %s", service, not)
		}
	}
	if err := p.Write(); err != nil || strings.TrimSpace(read(t, root, "secrets", "redis_password")) != redis {
		t.Errorf("a second start makes new secrets (%v)", err)
	}
}

func TestLoad_faults(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"default", "=gitaly:1", "a=gitaly", "a=gitaly:x", "a=gitaly:1*many", "a=gitaly:1 a=gitaly:2", "a b=c:1", `a=gi"t:1`, "../a=gitaly:1"} {
		if p, err := load(home.Home{}, map[string]string{containers.VarStorages: bad}); err == nil {
			t.Errorf("%q became %v", bad, p.Storages)
		}
	}
	if _, err := load(home.Home{}, map[string]string{containers.VarProxied: "maybe"}); err == nil {
		t.Error("GITSPLIT_PROXIED=maybe is accepted")
	}
	p, err := load(home.Home{}, nil)
	if err != nil || len(p.Storages) != 1 || p.Storages[0].Name != "default" || p.Proxied {
		t.Errorf("the defaults are %+v, %v", p, err)
	}
}
