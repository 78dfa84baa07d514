package home_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gitsplit/ctl/internal/home"
)

func newHome(t *testing.T) home.Home {
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

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"/", "/a'b", `/a"b`, "/a$b", "/a`b", "/a%b", "/a!b", "/a\nb", "/a\\b", "/a\xffb"} {
		if h, err := home.Resolve(bad); err == nil {
			t.Errorf("%q became %v", bad, h)
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	h, err := home.Resolve("")
	if err != nil || h.Root != filepath.Join(wd, ".gitsplit") {
		t.Errorf("the default is %v, %v", h, err)
	}
	short, err := home.Resolve("/srv/gitsplit")
	if err != nil || short.Sockets != "/srv/gitsplit/run" {
		t.Errorf("sockets of a short path: %v, %v", short, err)
	}
	for _, odd := range []string{"/" + strings.Repeat("long", 30), "/srv/git split", "/srv/é"} {
		one, err1 := home.Resolve(odd)
		two, err2 := home.Resolve(odd)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(one.Sockets, "/tmp/gitsplit-") || one != two || len(one.Socket("gitlab-workhorse-probe.sock")) > 107 {
			t.Errorf("sockets of %q: %v, then %v", odd, one, two)
		}
	}
}

func TestMakeDirs_refused(t *testing.T) {
	t.Parallel()
	tests := map[string]func(root string) error{
		"may be read or entered by other users": func(root string) error { return os.Mkdir(root, 0o755) }, //nolint:gosec // the fault
		"is not a directory":                    func(root string) error { return os.WriteFile(filepath.Join(filepath.Dir(root), "x"), nil, 0o600) },
	}
	for want, spoil := range tests {
		root := filepath.Join(t.TempDir(), "home")
		h, err := home.Resolve(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(root); err != nil {
			t.Fatal(err)
		}
		if want == "is not a directory" { // a link to somewhere else in place of the secrets
			if err := errors.Join(os.Mkdir(root, 0o700), os.Symlink("/tmp", filepath.Join(root, "secrets"))); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.MakeDirs(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("MakeDirs: %v, want %q", err, want)
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	if h.Locked() {
		t.Error("locked before it was")
	}
	unlock, err := h.Lock()
	if err != nil || !h.Locked() {
		t.Fatalf("Lock: %v; Locked() = %v", err, h.Locked())
	}
	if _, err := h.Lock(); !errors.Is(err, home.ErrLocked) {
		t.Errorf("a second Lock: %v, want %v", err, home.ErrLocked)
	}
	unlock()
	if h.Locked() {
		t.Error("locked after it was")
	}
}

func TestMakeSecrets(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	if _, err := h.MakeSecrets(""); err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{
		home.ShellSecret: `^[0-9a-f]{64}$`, home.GitalyToken: `^[0-9a-f]{64}$`, home.DatabaseKey: `^[0-9a-f]{64}$`, home.WorkhorseSecret: `^[A-Za-z0-9+/]{43}=$`,
		home.RootPassword: `^[a-z2-9]{5}(-[a-z2-9]{5}){3}$`, home.RootToken: `^glpat-[a-z2-7]{40}$`,
	}
	first := map[string]string{}
	for name, form := range forms {
		value, err := h.ReadSecret(name)
		if err != nil || !regexp.MustCompile(form).MatchString(value) {
			t.Errorf("%s: %q, %v, want %s", name, value, err, form)
		}
		first[name] = value
		if info, err := os.Stat(h.Secret(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if raw, err := base64.StdEncoding.DecodeString(first[home.WorkhorseSecret]); err != nil || len(raw) != 32 {
		t.Errorf("the workhorse secret has %d bytes, %v", len(raw), err)
	}
	if kept, err := h.MakeSecrets("something else"); err != nil || !kept {
		t.Errorf("MakeSecrets with another password: kept %v, %v", kept, err)
	}
	for name, value := range first {
		if now, err := h.ReadSecret(name); err != nil || now != value {
			t.Errorf("%s was made twice: %v", name, err)
		}
	}
}

func TestMakeSecrets_refused(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for _, bad := range []string{"short", strings.Repeat("x", 73), " leading blank", "two\nlines"} {
		if _, err := h.MakeSecrets(bad); err == nil {
			t.Errorf("the password %q was taken", bad)
		}
	}
	if err := os.WriteFile(h.Secret(home.GitalyToken), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.MakeSecrets(""); err == nil {
		t.Error("a short secret was accepted")
	}
	if err := errors.Join(os.Remove(h.Secret(home.GitalyToken)), os.Chmod(h.Secret(home.ShellSecret), 0o644)); err != nil { //nolint:gosec // the fault
		t.Fatal(err)
	}
	if _, err := h.MakeSecrets(""); err == nil {
		t.Error("a world-readable secret was accepted")
	}
}

func TestMakeHostKeys(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	keys, err := h.MakeHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.MakeHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSA} {
		if keys[i].Type() != want || string(keys[i].Marshal()) != string(again[i].Marshal()) {
			t.Errorf("key %d is %s, later %s", i, ssh.FingerprintSHA256(keys[i]), ssh.FingerprintSHA256(again[i]))
		}
	}
	if err := os.WriteFile(h.Secret("ssh_host_rsa_key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.MakeHostKeys(); err == nil {
		t.Error("a broken key was accepted")
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	if ok, err := home.Reachable("/usr/bin", nobody, nobody); err != nil || !ok {
		t.Errorf("/usr/bin: %v, %v", ok, err)
	}
	private := filepath.Join(t.TempDir(), "a") // t.TempDir's parent is private
	if ok, err := home.Reachable(filepath.Join(filepath.Dir(private), "b"), nobody, nobody); err != nil || ok {
		t.Errorf("a private directory: %v, %v", ok, err)
	}
	if _, err := home.Reachable("/does/not/exist", nobody, nobody); err == nil {
		t.Error("no error for a path that does not exist")
	}
}
