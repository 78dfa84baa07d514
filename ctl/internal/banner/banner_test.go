package banner_test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"gitsplit/ctl/internal/banner"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
)

func setup(t *testing.T) (home.Home, settings.Settings) {
	t.Helper()
	h, err := home.Resolve(filepath.Join(t.TempDir(), "a home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.Sockets) }) // its path has a blank, so they are in /tmp
	if _, err := h.MakeSecrets("correct horse battery"); err != nil {
		t.Fatal(err)
	}
	return h, settings.Settings{
		ExternalURL: "http://localhost:8080", Host: "localhost", SSHPort: 2222, HTTPPort: 8080, HTTPSPort: 8443, Bind: netip.MustParseAddr("127.0.0.1"),
	}
}

// blocks returns what stands between the markers, by title.
func blocks(text string) map[string]string {
	found := map[string]string{}
	for part := range strings.SplitSeq(text, "# --- push over ") {
		title, rest, ok := strings.Cut(part, " ---\n")
		if body, _, closed := strings.Cut(rest, "# --- end ---"); ok && closed {
			found[title] = body
		}
	}
	return found
}

// The blocks run as they stand, with programs in place of git push, curl and ssh
// that show what they are given.
func TestPrint_blocksRun(t *testing.T) {
	t.Parallel()
	h, s := setup(t)
	var out bytes.Buffer
	if err := banner.Print(&out, h, s); err != nil {
		t.Fatal(err)
	}
	bin, user := t.TempDir(), t.TempDir()
	fake := map[string]string{
		"curl": "#!/bin/sh\ncat; echo \"curl $*\"\n",
		"ssh":  "#!/bin/sh\necho \"ssh $*\" >&2; exit 1\n",
	}
	for name, text := range fake {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for title, block := range blocks(out.String()) {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", block+"echo 'url=http://localhost:8080' | git credential fill")
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + user, "TMPDIR=" + t.TempDir(), "GIT_TERMINAL_PROMPT=0"}
		text, _ := cmd.CombinedOutput() // no server: the push fails
		got[title] = string(text)
	}
	token, err := h.ReadSecret(home.RootToken)
	if err != nil {
		t.Fatal(err)
	}
	known := banner.KnownHostsFile(h)
	for title, wants := range map[string][]string{
		"HTTP":  {"Failed to connect to localhost port 8080", "username=root\npassword=" + token},
		"HTTPS": {"Failed to connect to localhost port 8443", "username=root\npassword=" + token},
		"SSH": {"PRIVATE-TOKEN: " + token + "\n", "--data-urlencode title=my key --data-urlencode key=ssh-ed25519 ",
			"ssh -i " + user + "/.ssh/id_ed25519 -o IdentitiesOnly=yes -o UserKnownHostsFile=\"" + known + "\""},
	} {
		for _, want := range wants {
			if !strings.Contains(got[title], want) {
				t.Errorf("%s: no %q in:\n%s", title, want, got[title])
			}
		}
	}
	if strings.Contains(out.String(), token) {
		t.Error("the token is in the banner")
	}
}

func TestWriteKnownHosts(t *testing.T) {
	t.Parallel()
	h, s := setup(t)
	keys, err := h.MakeHostKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "git.example.org", "2001:db8::1"} {
		s.Host = host
		if err := banner.WriteKnownHosts(h, s, keys); err != nil {
			t.Fatal(err)
		}
		check, err := knownhosts.New(banner.KnownHostsFile(h))
		if err != nil {
			t.Fatal(err)
		}
		addr := strings.TrimPrefix(s.SSHURL(), "ssh://git@")
		for _, key := range keys {
			if err := check(addr, fakeAddr(addr), key); err != nil {
				t.Errorf("%s, %s: %v", addr, key.Type(), err)
			}
		}
	}
}

type fakeAddr string

func (fakeAddr) Network() string  { return "tcp" }
func (a fakeAddr) String() string { return string(a) }
