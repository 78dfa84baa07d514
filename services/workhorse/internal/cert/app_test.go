package cert_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/app"
	"gitsplit/services/workhorse/internal/cert"
)

// A whole workhorse gets its certificate by either challenge: the one at its HTTPS
// listener and the one at the plain one.
func TestACME_workhorse(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			plain, secure := freePort(t), freePort(t)
			reach := map[string][2]int{"tls-alpn-01": {1, secure}, "http-01": {plain, 1}}[challenge]
			url, trust, root := cert.NewPublic(t, reach[0], reach[1])
			c := app.Defaults()
			c.ListenAddr = at(plain)
			c.Listeners = []app.Listener{{Network: "tcp", Addr: at(secure), TLS: app.ListenerTLS{Automatic: "acme"}}}
			c.ACME = app.ACME{Domains: []string{"localhost"}, Directory: url, CACertificate: trust, Storage: filepath.Join(t.TempDir(), "acme")}
			c.RedirectToHTTPS = "https://localhost"
			c.SecretPath = filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(c.SecretPath, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			a, err := app.New(t.Context(), c, logging.Discard())
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			awaitTrusted(t, at(secure), root)
			stop()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// awaitTrusted does handshakes until one shows a certificate of the authority.
func awaitTrusted(t *testing.T, addr, rootFile string) {
	t.Helper()
	pem, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}}
	late := time.After(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("no certificate: %v", err)
		}
	}
}

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}
