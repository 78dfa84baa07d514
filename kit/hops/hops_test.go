package hops_test

import (
	"bufio"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/hops"
)

// want fails unless a question was answered so; an answer that begins with "!" is an error.
func want(t *testing.T, text, detail string, err error) {
	t.Helper()
	if bad, failed := strings.CutPrefix(text, "!"); failed != (err != nil) || failed && !strings.Contains(err.Error(), bad) || !failed && !strings.Contains(detail, text) {
		t.Errorf("%q, %v; want %q", detail, err, text)
	}
}

func TestDoor_HTTP(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/readiness" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	door := hops.Door{Addr: srv.Listener.Addr().String()}
	detail, err := door.HTTP(t.Context())
	want(t, "is ready", detail, err)
	status = http.StatusServiceUnavailable
	detail, err = door.HTTP(t.Context())
	want(t, "!answers 503", detail, err)
	srv.Close()
	detail, err = door.HTTP(t.Context())
	want(t, "!refused", detail, err)
}

func TestDoor_HTTPS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	door := hops.Door{Addr: srv.Listener.Addr().String()}
	detail, err := door.HTTPS(t.Context(), "example.com", roots)
	want(t, "certificate for example.com until", detail, err)
	detail, err = door.HTTPS(t.Context(), "elsewhere.test", roots)
	want(t, "!elsewhere.test", detail, err)
	detail, err = door.HTTPS(t.Context(), "example.com", x509.NewCertPool())
	want(t, "!unknown authority", detail, err)
}

// greet answers every connection with a line, if it began with the header.
func greet(t *testing.T, header, line string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			got := ""
			if header != "" {
				got, _ = bufio.NewReader(conn).ReadString('\n')
			}
			if got == header {
				_, _ = conn.Write([]byte(line))
			}
			_ = conn.Close()
		}
	}()
	return ln.Addr().String()
}

func TestDoor_SSH(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		header, line, want string
	}{
		{"", "SSH-2.0-x\r\n", ", SSH-2.0-x"},
		{"PROXY UNKNOWN\r\n", "SSH-2.0-x\r\n", ", SSH-2.0-x"},
		{"", "HTTP/1.1 400\r\n", "!no SSH server"},
		{"", "", "!no SSH server"},
	} {
		detail, err := hops.Door{Addr: greet(t, tc.header, tc.line), Proxied: tc.header != ""}.SSH(t.Context())
		want(t, tc.want, detail, err)
	}
}

func TestExternal(t *testing.T) {
	t.Parallel()
	date := time.Now()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(srv.Close)
	detail, err := hops.External(t.Context(), srv.URL, nil)
	want(t, srv.URL, detail, err)
	date = date.Add(-time.Minute)
	detail, err = hops.External(t.Context(), srv.URL, nil)
	want(t, "!clock", detail, err)
}

func TestInternalAPI(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Gitlab-Shell-Api-Request") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte(`{"api_version":"v4","gitlab_version":"18.2.0","redis":true}`))
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "secret")
	detail, err := hops.InternalAPI(t.Context(), srv.URL, file)
	want(t, "!no such file", detail, err)
	if err := os.WriteFile(file, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	detail, err = hops.InternalAPI(t.Context(), srv.URL, file)
	want(t, "takes our secret, version 18.2.0", detail, err)
}

func TestRoots(t *testing.T) {
	t.Parallel()
	if roots, err := hops.Roots(filepath.Join(t.TempDir(), "none")); err != nil || roots == nil {
		t.Errorf("%v, %v", roots, err)
	}
}
