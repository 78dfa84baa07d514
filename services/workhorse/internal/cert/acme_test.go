package cert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"gitsplit/kit/logging"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// public is a public authority: Let's Encrypt's own one for tests.
type public struct {
	url   string // of its directory
	trust string // PEM file for talking to it
	root  string // PEM file of what it signs with
}

// newPublic starts one that finds the servers to be challenged at the two ports.
func newPublic(t *testing.T, plain, tlsPort int) public {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "the only one"}})
	front := wfe.New(quiet, store, va.New(quiet, plain, tlsPort, false, "", store), authority, []string{"ca.test"}, false, false, 0, 0)
	srv := httptest.NewTLSServer(front.Handler())
	t.Cleanup(srv.Close)
	p := public{url: srv.URL + wfe.DirectoryPath, trust: filepath.Join(t.TempDir(), "trust"), root: filepath.Join(t.TempDir(), "root")}
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	root := authority.GetRootCert(0).PEM()
	if err := errors.Join(os.WriteFile(p.trust, own, 0o600), os.WriteFile(p.root, root, 0o600)); err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitLeaf does handshakes until there is a certificate.
func awaitLeaf(t *testing.T, a *ACME, root string, out *buffer) *x509.Certificate {
	t.Helper()
	late := time.After(patience)
	for again := time.NewTicker(20 * time.Millisecond); ; {
		got, err := leaf(t, a.Get, root, "localhost", time.Now)
		if err == nil {
			again.Stop()
			return got
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("no certificate: %v\n%s", err, out)
		}
	}
}

// buffer is a log.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// obtain runs a server with one kind of challenge until it has its certificate.
func obtain(t *testing.T, alpn bool) {
	t.Helper()
	secure, plain := listen(t), listen(t)
	// The kind that is not meant to be used leads nowhere.
	p := newPublic(t, 1, port(secure))
	if !alpn {
		p = newPublic(t, port(plain), 1)
	}
	storage := filepath.Join(t.TempDir(), "certificates")
	out := &buffer{}
	o := ACMEOptions{
		Domains: []string{"localhost"}, Email: "root@example.test", Directory: p.url, RootsFile: p.trust, Storage: storage,
		TLS: secure.Addr(), Plain: plain.Addr(), Log: slog.New(slog.NewTextHandler(out, nil)),
	}
	if alpn {
		o.Plain = nil
	}
	a, err := NewACME(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	serve(t, plain, a.Challenges(http.NotFoundHandler()), nil)
	serve(t, secure, http.NotFoundHandler(), a.Get)
	first := awaitLeaf(t, a, p.root, out)
	if want := "certificates: certificate obtained successfully"; !strings.Contains(out.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, out)
	}

	// A replica finds it in the shared directory and asks for none of its own.
	o.Log = logging.Discard()
	replica, err := NewACME(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Close()
	got, err := leaf(t, replica.Get, p.root, "localhost", time.Now)
	if !must(t, got, err).Equal(first) {
		t.Error("the replica has another certificate")
	}
	if _, err := leaf(t, a.Get, p.root, "other.test", time.Now); err == nil {
		t.Error("a certificate for a name that was not asked for")
	}
}

func TestACME_tlsALPN(t *testing.T) { t.Parallel(); obtain(t, true) }

func TestACME_http(t *testing.T) { t.Parallel(); obtain(t, false) }

func TestNewACME_refused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]ACMEOptions{
		"no roots there":          {RootsFile: "/nonexistent", Storage: t.TempDir()},
		"no roots in it":          {RootsFile: file, Storage: t.TempDir()},
		"storage is no directory": {Storage: file},
	} {
		o.Log = logging.Discard()
		if _, err := NewACME(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

func serve(t *testing.T, ln net.Listener, h http.Handler, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) {
	t.Helper()
	if get != nil {
		ln = tls.NewListener(ln, &tls.Config{GetCertificate: get, NextProtos: []string{"http/1.1", ACMEProtocol}, MinVersion: tls.VersionTLS12})
	}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
}
