package app_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAudit runs ssh-audit against the daemon as it is configured by default, with
// host keys of both kinds: no failure, and no warning but those about what it does
// not know.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.stop()
	if err := <-w.stopped; err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(filepath.Join(w.dir, "config.yml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "config.yml", strings.Replace(string(conf), "[host_ed25519]", "[host_ed25519, host_rsa]", 1))
	w.serve(t)
	need(t, "ssh-audit")
	host, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	got := capture(t, exec.CommandContext(t.Context(), "ssh-audit", "--no-colors", "--port", port, host))
	t.Logf("report:\n%s%s", got.stdout, got.stderr)
	if !strings.Contains(got.stdout, "# key exchange algorithms") {
		t.Fatal("no report")
	}
	for line := range strings.Lines(got.stdout) {
		if strings.Contains(line, "[fail]") || strings.Contains(line, "[warn]") && !strings.Contains(line, "unknown algorithm") {
			t.Errorf("ssh-audit: %s", strings.TrimSpace(line))
		}
	}
	for _, want := range []string{"(kex) curve25519-sha256", "(mac) hmac-sha2-256-etm@openssh.com", "(key) ssh-ed25519", "(key) rsa-sha2-512 (3072-bit)"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the report does not name %s", want)
		}
	}
}
