package settings_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gitsplit/ctl/internal/settings"
)

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestLoad_defaults(t *testing.T) {
	t.Parallel()
	got, err := settings.Load(lookup(map[string]string{"GITSPLIT_BIND": ""}))
	want := settings.Settings{
		Bind: netip.MustParseAddr("127.0.0.1"), HTTPPort: 8080, HTTPSPort: 8443, SSHPort: 2222, ExternalURL: "http://localhost:8080", Host: "localhost",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
		t.Errorf("Load: %v (-want +got):\n%s", err, diff)
	}
	if got.HTTPAddr() != "127.0.0.1:8080" || got.HTTPSAddr() != "127.0.0.1:8443" || got.HTTPSURL() != "https://localhost:8443" || got.SSHURL() != "ssh://git@localhost:2222" {
		t.Errorf("%s, %s", got.HTTPAddr(), got.SSHURL())
	}
}

func TestLoad_external(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, port, wantURL, wantSSH, wantHTTPS string }{
		{"https://git.example.org", "22", "https://git.example.org", "ssh://git@git.example.org", "https://git.example.org"},
		{"https://git.example.org:8443/", "2222", "https://git.example.org:8443", "ssh://git@git.example.org:2222", "https://git.example.org:8443"},
		{"http://[2001:db8::1]:8080", "2222", "http://[2001:db8::1]:8080", "ssh://git@[2001:db8::1]:2222", "https://[2001:db8::1]:8443"},
		{"http://[2001:db8::1]", "22", "http://[2001:db8::1]", "ssh://git@[2001:db8::1]", "https://[2001:db8::1]:8443"},
	}
	for _, tc := range tests {
		s, err := settings.Load(lookup(map[string]string{"EXTERNAL_URL": tc.url, "GITSPLIT_SSH_PORT": tc.port}))
		if err != nil || s.ExternalURL != tc.wantURL || s.SSHURL() != tc.wantSSH || s.HTTPSURL() != tc.wantHTTPS {
			t.Errorf("%s: %s, %s, %s, %v; want %s, %s, %s", tc.url, s.ExternalURL, s.SSHURL(), s.HTTPSURL(), err, tc.wantURL, tc.wantSSH, tc.wantHTTPS)
		}
	}
}

func TestHTTPSNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		url, bind string
		want      []string
	}{
		{"http://localhost:8080", "127.0.0.1", []string{"localhost", "127.0.0.1", "::1"}},
		{"https://git.example.org", "0.0.0.0", []string{"git.example.org", "localhost", "127.0.0.1", "::1"}},
		{"http://192.0.2.7:8080", "192.0.2.7", []string{"192.0.2.7", "localhost", "127.0.0.1", "::1"}},
		{"http://git.lan", "192.0.2.7", []string{"git.lan", "localhost", "127.0.0.1", "::1", "192.0.2.7"}},
	} {
		s, err := settings.Load(lookup(map[string]string{"EXTERNAL_URL": tc.url, "GITSPLIT_BIND": tc.bind}))
		if diff := cmp.Diff(tc.want, s.HTTPSNames()); err != nil || diff != "" {
			t.Errorf("%s on %s: %v (-want +got):\n%s", tc.url, tc.bind, err, diff)
		}
	}
}

func TestLoad_everyFault(t *testing.T) {
	t.Parallel()
	_, err := settings.Load(lookup(map[string]string{
		"GITSPLIT_HTTP_PORT": "0", "GITSPLIT_HTTPS_PORT": "-1", "GITSPLIT_SSH_PORT": "70000", "GITSPLIT_BIND": "localhost", "EXTERNAL_URL": "ftp://x", "GITSPLIT_VERBOSE": "very", "GITSPLIT_OBJECT_STORAGE": "s3://key:secret@bucket",
	}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"GITSPLIT_HTTP_PORT", "GITSPLIT_HTTPS_PORT", "GITSPLIT_SSH_PORT", "GITSPLIT_BIND", "EXTERNAL_URL", "GITSPLIT_VERBOSE", "GITSPLIT_OBJECT_STORAGE"} {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not named in %q", name, err)
		}
	}
}

func TestLoad_refused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://", "http://a b", "http://x/path", "http://user:pw@x", "http://x?q", "http://x#f", "http://x:0", "http://x:99999", "http://$(id)", "x", "http://-x", ":",
	} {
		if s, err := settings.Load(lookup(map[string]string{"EXTERNAL_URL": url})); err == nil {
			t.Errorf("EXTERNAL_URL %q became %q", url, s.ExternalURL)
		} else if strings.Contains(err.Error(), ":pw@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	for variable, port := range map[string]string{"GITSPLIT_SSH_PORT": "8080", "GITSPLIT_HTTPS_PORT": "2222", "GITSPLIT_HTTP_PORT": "8443"} {
		if _, err := settings.Load(lookup(map[string]string{variable: port})); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%s=%s, one port for two services: %v", variable, port, err)
		}
	}
}

func TestCheckPorts(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	port := netip.MustParseAddrPort(ln.Addr().String()).Port()
	tests := []struct {
		bind string
		want string
	}{
		{"127.0.0.1", "set GITSPLIT_SSH_PORT to a free port"},
		{"192.0.2.1", "set GITSPLIT_BIND to one that it has"},
	}
	for _, tc := range tests {
		s := settings.Settings{Bind: netip.MustParseAddr(tc.bind), SSHPort: port}
		if err := s.CheckPorts(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.bind, err, tc.want)
		}
	}
}

func FuzzLoad_external(f *testing.F) {
	f.Add("http://localhost:8080")
	f.Add("https://[::1]:1")
	f.Fuzz(func(t *testing.T, url string) {
		s, err := settings.Load(lookup(map[string]string{"EXTERNAL_URL": url}))
		if err == nil && strings.ContainsAny(s.ExternalURL+s.Host, " '\"\\$`;&|\n") {
			t.Errorf("%q reaches shell lines as %q", url, s.ExternalURL)
		}
	})
}

func TestLoad_certificate(t *testing.T) {
	t.Parallel()
	load := func(env map[string]string) (settings.Settings, error) {
		return settings.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	}
	s, err := load(map[string]string{"GITSPLIT_TLS_CERT": "/etc/ssl/git.crt", "GITSPLIT_TLS_KEY": "/etc/ssl/git.key"})
	if err != nil || s.TLS.Cert != "/etc/ssl/git.crt" || s.TLS.Key != "/etc/ssl/git.key" {
		t.Errorf("own: %+v, %v", s.TLS, err)
	}
	s, err = load(map[string]string{"GITSPLIT_ACME_EMAIL": "ops@example.com", "EXTERNAL_URL": "https://git.example.com"})
	if err != nil || s.TLS.ACMEEmail != "ops@example.com" {
		t.Errorf("ACME: %+v, %v", s.TLS, err)
	}
	for want, env := range map[string]map[string]string{
		"go together":             {"GITSPLIT_TLS_CERT": "/x"},
		"exclude each other":      {"GITSPLIT_TLS_CERT": "/x", "GITSPLIT_TLS_KEY": "/y", "GITSPLIT_ACME_EMAIL": "a@b.example"},
		"GITSPLIT_ACME_EMAIL too": {"GITSPLIT_ACME_DIRECTORY": "https://ca.example"},
		"names such as":           {"GITSPLIT_ACME_EMAIL": "a@b.example", "EXTERNAL_URL": "https://192.0.2.1"},
		"has quotes":              {"GITSPLIT_TLS_CERT": "/x\"", "GITSPLIT_TLS_KEY": "/y"},
	} {
		if _, err := load(env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", env, err, want)
		}
	}
}
