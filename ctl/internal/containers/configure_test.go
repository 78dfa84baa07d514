package containers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/ctl/internal/containers"
	"gitsplit/ctl/internal/home"
)

// bare returns a home with nothing in it, as in an init container.
func bare(t *testing.T) home.Home {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	return h
}

// mount lays files out as Kubernetes does: links into a hidden directory, readable by
// a group.
func mount(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	hidden := filepath.Join(dir, "..2026_11_21")
	if err := os.Mkdir(hidden, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(hidden, name), []byte(text), 0o440); err != nil { //nolint:gosec // what is tested
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..2026_11_21", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPlan_Configure(t *testing.T) {
	t.Parallel()
	p, err := load(bare(t), map[string]string{containers.VarStorages: "storage-0=g-0.g:8075 storage-1=g-1.g:8075*0"})
	if err != nil {
		t.Fatal(err)
	}
	p.Settings.TLS.Cert, p.Settings.TLS.Key = "/tls/tls.crt", "/tls/tls.key"
	if err := p.Configure(mount(t, map[string]string{home.ShellSecret: "shell"})); err != nil {
		t.Fatal(err)
	}
	root := p.Home.Root
	for name, want := range map[string]string{
		"gitaly-storage-1.toml": `name = "storage-1"`, "rails-api.yml": "tcp://g-0.g:8075", "shell/config.yml": home.ShellSecret,
		"workhorse.toml": `certificate = "/tls/tls.crt"`,
	} {
		if text := read(t, root, "config", name); !strings.Contains(text, want) {
			t.Errorf("%s: no %q in:\n%s", name, want, text)
		}
	}
	if text := read(t, root, "config", "rails-api.yml"); strings.Contains(text, "fronts:") {
		t.Errorf("names of the compose files elsewhere:\n%s", text)
	}
	if text := read(t, root, "secrets", home.ShellSecret); text != "shell" {
		t.Errorf("the secret became %q", text)
	}
	if info, err := os.Stat(p.Home.Secret(home.ShellSecret)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret is %v, %v", info, err)
	}
	if made, err := os.ReadDir(filepath.Join(root, "secrets")); err != nil || len(made) != 1 {
		t.Errorf("secrets has %v, %v: want what was mounted", made, err)
	}
}

func TestPlan_Configure_faults(t *testing.T) {
	t.Parallel()
	p, err := load(bare(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(""); err == nil || !strings.Contains(err.Error(), containers.VarSecrets) {
		t.Errorf("without a directory: %v", err)
	}
	dir := mount(t, nil)
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o750); err != nil {
		t.Fatal(err)
	}
	err = p.Configure(dir)
	for _, want := range []string{"dangling", "not a plain file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestHome_ReadHostKeys(t *testing.T) {
	t.Parallel()
	h := bare(t)
	if keys, err := h.ReadHostKeys(); err != nil || len(keys) != 0 {
		t.Errorf("of none: %v, %v", keys, err)
	}
	made, err := h.MakeHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := h.ReadHostKeys(); err != nil || len(keys) != len(made) {
		t.Errorf("of all: %v, %v", keys, err)
	}
	if err := os.Remove(h.Secret(home.HostKeys()[1])); err != nil {
		t.Fatal(err)
	}
	if keys, err := h.ReadHostKeys(); err == nil {
		t.Errorf("of some: %v", keys)
	}
}
