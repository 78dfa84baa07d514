package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/config"
	"gitsplit/services/workhorse/internal/app"
	"gitsplit/services/workhorse/internal/cert"
)

// https is a workhorse that has an HTTPS listener too.
type https struct {
	*setup
	dir  string // of the local authority
	ca   string // its certificate
	base string // https://127.0.0.1:port
}

func startHTTPS(t testing.TB, change func(*app.Config)) *https {
	t.Helper()
	h := &https{dir: filepath.Join(t.TempDir(), "tls")}
	h.ca = filepath.Join(h.dir, cert.AuthorityFile)
	h.setup = start(t, func(c *app.Config) {
		c.Listeners = []app.Listener{{Network: "tcp", Addr: "127.0.0.1:0", TLS: app.ListenerTLS{Automatic: "local"}}}
		c.LocalAuthority = app.LocalAuthority{Directory: h.dir, Names: []string{"localhost", "127.0.0.1"}}
		if change != nil {
			change(c)
		}
	})
	h.base = "https://" + h.addrs[1].String()
	return h
}

func (h *https) roots() *x509.CertPool {
	h.t.Helper()
	pem, err := os.ReadFile(h.ca)
	if err != nil {
		h.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// client returns one that trusts the authority and does not follow redirects.
func (h *https) client() *http.Client {
	h.t.Helper()
	c := client(h.t, "")
	tr := c.Transport.(*http.Transport)
	tr.TLSClientConfig = &tls.Config{RootCAs: h.roots(), MinVersion: tls.VersionTLS12}
	tr.ForceAttemptHTTP2 = true
	return c
}

// Stock git pushes and clones over HTTPS; it must check the certificate, and
// workhorse tells rails-api that the way was a safe one.
func TestHTTPS_git(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, nil)
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main", "one")
	one := filepath.Join(dir, "one")
	if err := os.WriteFile(filepath.Join(one, "large"), []byte(strings.Repeat("0123456789abcdef", 1<<17)), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, one, "add", "large")
	git(t, one, "commit", "-q", "-m", "one")
	remote := strings.Replace(h.base, "https://", "https://root:password@", 1) + "/g/app.git"
	h.at()
	if out, err := tryGit(t, one, "push", "-q", remote, "main"); err == nil || !strings.Contains(out, "certificate") {
		t.Errorf("a push that trusts nobody: %v\n%s", err, out)
	}
	trust := "http.sslCAInfo=" + h.ca
	for _, version := range []string{"HTTP/2", "HTTP/1.1"} {
		branch := "b" + version[5:6]
		git(t, one, "-c", trust, "-c", "http.version="+version, "-c", "http.postBuffer=1000", "push", "-q", remote, "main:"+branch)
		git(t, dir, "-c", trust, "-c", "http.version="+version, "clone", "-q", "-b", branch, remote, version[5:6])
	}
	if got := h.rails.last().Header.Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("X-Forwarded-Proto: %q", got)
	}
}

// curl with the authority's file, as the documentation says, over both versions.
func TestHTTPS_curl(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, nil)
	h.at()
	for flag, version := range map[string]string{"--http2": "2", "--http1.1": "1.1", "--tlsv1.3": "2", "--tls-max=1.2": "2"} {
		args := append(strings.Split(flag, "="), "-sS", "--cacert", h.ca, "-w", "\n%{http_version} %{http_code}",
			"--data-binary", "@/bin/true", h.base+"/some/page?x=1")
		out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
		if want := "POST /some/page?x=1\n" + version + " 200"; err != nil || string(out) != want {
			t.Errorf("curl %s: %q, %v; want %q", flag, out, err, want)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "curl", "-sS", h.base+"/").CombinedOutput(); err == nil {
		t.Errorf("curl trusts the certificate of nobody: %s", out)
	}
}

// The doors are the same behind TLS: no internal API, and refusals over HTTP/2.
func TestHTTPS_doors(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, nil)
	for path, want := range map[string]int{"/api/v4/internal/check": 404, "/api/v4/%69nternal/allowed": 404, "/x/%2e%2e/api/v4/internal/check": 404, "/page": 200} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.base+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res, body := send(t, h.client(), req)
		if res.StatusCode != want || res.ProtoMajor != 2 {
			t.Errorf("%s: %s %d %q, want %d", path, res.Proto, res.StatusCode, body, want)
		}
	}
}

// The operator's own files are exchanged while workhorse runs.
func TestHTTPS_reload(t *testing.T) {
	t.Parallel()
	pair := func() (string, *https) {
		other := startHTTPS(t, nil)
		return filepath.Join(other.dir, "server.pem"), other
	}
	file1, authority1 := pair()
	file2, authority2 := pair()
	text, err := os.ReadFile(file1)
	if err != nil {
		t.Fatal(err)
	}
	mine := write(t, "mine.pem", string(text))
	h := startHTTPS(t, func(c *app.Config) {
		c.Listeners[0].TLS = app.ListenerTLS{Certificate: mine, Key: mine, MinVersion: "tls1.3"}
	})
	get := func(trust *https) error {
		h.ca = trust.ca
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.base, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.client().Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		return err
	}
	if err := get(authority1); err != nil {
		t.Fatalf("the first certificate: %v", err)
	}
	if err := os.Rename(file2, mine); err != nil {
		t.Fatal(err)
	}
	if err := get(authority2); err != nil {
		t.Errorf("the second certificate: %v", err)
	}
	if err := get(authority1); err == nil {
		t.Error("the first certificate is still in use")
	}
	_, err = tls.Dial("tcp", strings.TrimPrefix(h.base, "https://"), &tls.Config{RootCAs: h.roots(), MaxVersion: tls.VersionTLS12}) //nolint:gosec // refused
	if err == nil {
		t.Error("min_version = tls1.3 lets TLS 1.2 in")
	}
}

// A site that wants HTTPS: plain requests are sent there, but probes; git follows,
// and what comes through a proxy that ends TLS is left alone.
func TestHTTPS_redirect(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, func(c *app.Config) {
		c.TrustedCIDRs = []string{"127.0.0.1"}
		c.RedirectToHTTPS = "https://127.0.0.1:1"
		c.HSTSMaxAge = config.Duration(time.Hour)
	})
	for _, tc := range []struct {
		method, url, proto string
		status             int
		location, hsts     string
	}{
		{"GET", h.at() + "/a%20b//c?x=1", "", 301, "https://127.0.0.1:1/a%20b/c?x=1", ""},
		{"POST", h.at() + "/api/v4/projects", "", 308, "https://127.0.0.1:1/api/v4/projects", ""},
		{"GET", h.at() + "//evil.test/x", "", 301, "https://127.0.0.1:1/evil.test/x", ""},
		{"GET", h.at() + "/api/v4/internal/check", "", 404, "", ""},
		{"GET", h.at() + "/-/readiness", "", 200, "", ""},
		{"GET", h.at() + "/a", "https", 200, "", "max-age=3600"},
		{"GET", strings.TrimPrefix(h.base, "https://") + "/a", "", 200, "", "max-age=3600"},
	} {
		scheme := "http://"
		if strings.HasPrefix("https://"+tc.url, h.base) {
			scheme = "https://"
		}
		req, err := http.NewRequestWithContext(t.Context(), tc.method, scheme+tc.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.proto != "" {
			req.Header.Set("X-Forwarded-Proto", tc.proto)
		}
		res, _ := send(t, h.client(), req)
		if got := res.Header; res.StatusCode != tc.status || got.Get("Location") != tc.location || got.Get("Strict-Transport-Security") != tc.hsts {
			t.Errorf("%s %s: %d, to %q, HSTS %q; want %d, %q, %q", tc.method, tc.url, res.StatusCode, got.Get("Location"),
				got.Get("Strict-Transport-Security"), tc.status, tc.location, tc.hsts)
		}
	}
	res, body := sendInternal(t, h.setup)
	if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("the internal listener: %d %q", res.StatusCode, body)
	}
}

func sendInternal(t *testing.T, s *setup) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://unix/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, client(t, s.internal), req)
}

// Nothing is redirected and no browser is told anything unless the site wants it.
func TestHTTPS_noHSTS(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, nil)
	for _, base := range []string{h.setup.base(), h.base} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, _ := send(t, h.client(), req)
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %d, %v", base, res.StatusCode, res.Header)
		}
	}
}

// Metrics over TLS, for those who say so with GitLab's key.
func TestHTTPS_metrics(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, func(c *app.Config) {
		socket := strings.TrimPrefix(c.PrometheusListenAddr, "unix:")
		c.PrometheusListenAddr = ""
		c.Metrics = app.Listener{Network: "unix", Addr: socket, TLS: app.ListenerTLS{Automatic: "local"}}
	})
	c := h.client()
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.probes)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, body := send(t, c, req); res.StatusCode != http.StatusOK || !strings.Contains(body, "gitlab_workhorse_") {
		t.Errorf("metrics: %d %q", res.StatusCode, body)
	}
}
