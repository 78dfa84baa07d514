package app_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testssl.sh finds nothing of medium weight or worse in a listener with a trusted
// certificate, and TLS 1.3, 1.2 and HTTP/2 in it.
func TestHTTPS_testssl(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("testssl")
	if err != nil {
		program, err = exec.LookPath("testssl.sh")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	h := startHTTPS(t, nil)
	_, port, err := net.SplitHostPort(h.addrs[1].String())
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), program, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "min", "--ip", "127.0.0.1",
		"--openssl-timeout", "5", "--connect-timeout", "5", "--fast", "--add-ca", h.ca, "--jsonfile", report,
		"--protocols", "--standard", "--server-defaults",
		"--heartbleed", "--ccs-injection", "--compression", "--sweet32",
		"https://localhost:"+port)
	out, err := cmd.CombinedOutput() // the exit code counts findings
	text, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("testssl: %v, %v\n%s", err, readErr, out)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &findings); err != nil {
		t.Fatalf("testssl: %v\n%s", err, text)
	}
	// An authority that nobody but its own clients trust has no service that tells of
	// revocations; the certificate's 90 days are the limit of a loss.
	explained := []string{"cert_revocation"}
	seen := map[string]string{}
	for _, f := range findings {
		seen[f.ID] = f.Finding
		if slices.Contains([]string{"MEDIUM", "HIGH", "CRITICAL", "FATAL"}, f.Severity) && !slices.Contains(explained, f.ID) {
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	for id, want := range map[string]string{
		"TLS1": "not offered", "TLS1_1": "not offered", "TLS1_2": "offered", "TLS1_3": "offered with final", "ALPN_HTTP2": "h2",
		"cert_chain_of_trust": "passed.", "cert_trust": "Ok via SAN", "cipherlist_STRONG": "offered", "heartbleed": "not vulnerable", "SWEET32": "not vulnerable",
	} {
		if !strings.HasPrefix(seen[id], want) {
			t.Errorf("%s is %q, want %q", id, seen[id], want)
		}
	}
	if t.Failed() {
		t.Logf("testssl:\n%s", out)
	}
}
