package app_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/hostkey"
)

// TestAddresses: what the API is told of where a user is (wire/gitlab-shell.md §14).
func TestAddresses(t *testing.T) {
	t.Parallel()
	const header = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 22\r\n"
	for name, tc := range map[string]struct{ setting, header, client, forwarded string }{
		"no proxy":                  {"", "", "127.0.0.1", ""},
		"behind one":                {"  proxy_protocol: true\n", header, "192.0.2.7", "127.0.0.1"},
		"behind one without header": {"  proxy_protocol: true\n  proxy_header_timeout: 50ms\n", "", "127.0.0.1", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, tc.setting)
			w.api.Answer(allowedPath, http.StatusUnauthorized, `{"message":"no"}`)
			if err := w.through(t, tc.header).Run("git-upload-pack a"); err == nil {
				t.Error("was not refused")
			}
			hits := w.api.Hits(allowedPath)
			if len(hits) != 1 || !strings.Contains(hits[0].Body, `"check_ip":"`+tc.client+`"`) || hits[0].ForwardedFor != tc.forwarded {
				t.Errorf("allowed: %+v, want %s for %q", hits, tc.client, tc.forwarded)
			}
			for _, hit := range w.api.Hits(internalapi.PathAuthorizedKeys) {
				if hit.ForwardedFor != tc.forwarded {
					t.Errorf("authorized_keys: %+v", hit)
				}
			}
		})
	}
}

// through opens a session behind a PROXY header.
func (w *world) through(t *testing.T, header string) *gossh.Session {
	t.Helper()
	raw, err := os.ReadFile(w.key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.ParsePrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	host, err := hostkey.Load(filepath.Join(w.dir, "host_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if _, err := io.WriteString(nc, header); err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := gossh.NewClientConn(nc, w.addr, &gossh.ClientConfig{
		User: "git", Auth: []gossh.AuthMethod{gossh.PublicKeys(key)}, HostKeyCallback: gossh.FixedHostKey(host.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	sess, err := gossh.NewClient(conn, channels, requests).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return sess
}
