package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/kit/logging"
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func local(t *testing.T, dir string, c *clock, log *slog.Logger, names ...string) *Local {
	t.Helper()
	l, err := NewLocal(t.Context(), LocalOptions{Dir: dir, Names: names, Now: c.now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// leaf does a handshake, with checks as a client of the time does them, and
// returns the server's certificate.
func leaf(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error), caFile, name string, now func() time.Time) (*x509.Certificate, error) {
	t.Helper()
	pem, err := os.ReadFile(caFile) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", caFile)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: get, Time: now, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = c.(*tls.Conn).HandshakeContext(t.Context())
			_ = c.Close()
		}
	}()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, Time: now, MinVersion: tls.VersionTLS12}}
	c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func must(t *testing.T, c *x509.Certificate, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLocal(t *testing.T) {
	t.Parallel()
	dir, c := filepath.Join(t.TempDir(), "tls"), newClock()
	l := local(t, dir, c, logging.Discard(), "localhost", "Git.Example.test", "127.0.0.1", "::1", "192.0.2.7")
	ca := filepath.Join(dir, AuthorityFile)
	var first *x509.Certificate
	for _, name := range []string{"localhost", "git.example.test", "127.0.0.1", "::1", "192.0.2.7"} {
		got, err := leaf(t, l.Get, ca, name, c.now)
		first = must(t, got, err)
	}
	if _, err := leaf(t, l.Get, ca, "other.test", c.now); err == nil {
		t.Error("the certificate is for other.test")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}

	// A replica, and a later start, have the same authority and certificate.
	replica := local(t, dir, c, logging.Discard(), "localhost", "127.0.0.1")
	got, err := leaf(t, replica.Get, ca, "localhost", c.now)
	if !must(t, got, err).Equal(first) {
		t.Error("a second process has made a certificate of its own")
	}

	// The handshake in the last third of its life renews it; the replica sees that.
	c.add(leafLife/3*2 + time.Hour)
	got, err = leaf(t, l.Get, ca, "localhost", c.now)
	second := must(t, got, err)
	if second.Equal(first) || second.NotAfter.Before(c.now().Add(leafLife-time.Minute)) {
		t.Errorf("not renewed: good until %v, now it is %v", second.NotAfter, c.now())
	}
	got, err = leaf(t, replica.Get, ca, "localhost", c.now)
	if !must(t, got, err).Equal(second) {
		t.Error("the replica does not serve what the other has renewed")
	}
}

// Eight processes start at once in an empty directory.
func TestLocal_concurrent(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	var wg sync.WaitGroup
	served := make([]*tls.Certificate, 8)
	for i := range served {
		wg.Go(func() {
			l, err := NewLocal(t.Context(), LocalOptions{Dir: dir, Names: []string{"localhost"}, Now: c.now, Log: logging.Discard()})
			if err != nil {
				t.Error(err)
				return
			}
			served[i] = l.files.current(t.Context())
		})
	}
	wg.Wait()
	for i, s := range served {
		if s == nil || !s.Leaf.Equal(served[0].Leaf) {
			t.Errorf("process %d has another certificate", i)
		}
	}
}

// A renewal that fails leaves the old certificate, and is not tried at every
// handshake.
func TestLocal_renewalFails(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	var log bytes.Buffer
	l := local(t, dir, c, slog.New(slog.NewTextHandler(&log, nil)), "localhost")
	ca, key := filepath.Join(dir, AuthorityFile), filepath.Join(dir, authorityKey)
	got, err := leaf(t, l.Get, ca, "localhost", c.now)
	first := must(t, got, err)
	c.add(leafLife - 24*time.Hour)
	if err := os.Chmod(key, 0o644); err != nil { //nolint:gosec // the fault
		t.Fatal(err)
	}
	for range 3 {
		got, err := leaf(t, l.Get, ca, "localhost", c.now)
		if !must(t, got, err).Equal(first) {
			t.Error("another certificate")
		}
	}
	if n := strings.Count(log.String(), "certificate not renewed"); n != 1 {
		t.Errorf("%d complaints, want 1:\n%s", n, log.String())
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	c.add(retryAfter)
	got, err = leaf(t, l.Get, ca, "localhost", c.now)
	if must(t, got, err).Equal(first) {
		t.Error("not renewed when it could be")
	}
}

// The authority's signature is worth nothing for names that it was not made for.
func TestLocal_constraints(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	local(t, dir, c, logging.Discard(), "git.example.test", "192.0.2.7")
	file := filepath.Join(dir, AuthorityFile)
	ca, err := loadAuthority(file, filepath.Join(dir, authorityKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{
		"git.example.test": true, "sub.git.example.test": true, "localhost": true, "192.0.2.7": true, "127.0.0.1": true,
		"example.test": false, "bank.example": false, "192.0.2.8": false, "2001:db8::1": false,
	} {
		n, err := parseNames([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if ca.permits(n) != good {
			t.Errorf("permits(%s) = %v", name, !good)
		}
		forged, err := ca.issue(n, c.now())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(forged, forged)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf(t, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, file, name, c.now)
		if (err == nil) != good {
			t.Errorf("a client takes a certificate for %s: %v", name, err)
		}
	}
}

// For a name that the authority may not sign for there has to be a new one; it is
// for the old names too, and so two processes with different names agree on it.
func TestLocal_newName(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	ca := filepath.Join(dir, AuthorityFile)
	read := func() string {
		text, err := os.ReadFile(ca) //nolint:gosec // a test
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	local(t, dir, c, logging.Discard(), "a.test")
	old := read()
	var log bytes.Buffer
	b := local(t, dir, c, slog.New(slog.NewTextHandler(&log, nil)), "b.test", "192.0.2.1")
	fresh := read()
	if fresh == old || !strings.Contains(log.String(), "clients have to trust anew") {
		t.Errorf("the authority is the old one: %v\n%s", fresh == old, log.String())
	}
	got, err := leaf(t, b.Get, ca, "b.test", c.now)
	must(t, got, err)
	a := local(t, dir, c, logging.Discard(), "a.test")
	if read() != fresh {
		t.Error("one more authority for a name of the first")
	}
	got, err = leaf(t, a.Get, ca, "a.test", c.now)
	must(t, got, err)
}

// An authority near its end is replaced before it signs what outlives it.
func TestLocal_oldAuthority(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	local(t, dir, c, logging.Discard(), "localhost")
	c.add(authorityLife - leafLife/2)
	l := local(t, dir, c, logging.Discard(), "localhost")
	got, err := leaf(t, l.Get, filepath.Join(dir, AuthorityFile), "localhost", c.now)
	must(t, got, err)
}

func TestNewLocal_refused(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{nil, {""}, {"a b"}, {"-x"}, {"a..b"}, {"fe80::1%eth0"}, {strings.Repeat("a", 64)}, {strings.Repeat("a.", 130) + "a"}, {"x\n"}} {
		if _, err := NewLocal(t.Context(), LocalOptions{Dir: t.TempDir(), Names: names, Now: time.Now, Log: logging.Discard()}); err == nil {
			t.Errorf("the names %q were taken", names)
		}
	}
	c := newClock()
	spoil := map[string]func(dir string) error{
		"key is readable": func(dir string) error { return os.Chmod(filepath.Join(dir, authorityKey), 0o640) }, //nolint:gosec // the fault
		"key is gone":     func(dir string) error { return os.Remove(filepath.Join(dir, authorityKey)) },
		"key is broken":   func(dir string) error { return os.WriteFile(filepath.Join(dir, authorityKey), []byte("x"), 0o600) },
		"not an authority": func(dir string) error {
			text, err := os.ReadFile(filepath.Join(dir, serverFile)) //nolint:gosec // a test
			return errors.Join(err, os.WriteFile(filepath.Join(dir, authorityKey), text, 0o600),
				os.WriteFile(filepath.Join(dir, AuthorityFile), text, 0o600))
		},
		"lock is a link": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, lockFile)), os.Symlink("/dev/null", filepath.Join(dir, lockFile)))
		},
	}
	for name, f := range spoil {
		dir := t.TempDir()
		local(t, dir, c, logging.Discard(), "localhost")
		before, err := os.ReadFile(filepath.Join(dir, AuthorityFile)) //nolint:gosec // a test
		if err := errors.Join(err, f(dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := NewLocal(t.Context(), LocalOptions{Dir: dir, Names: []string{"localhost"}, Now: c.now, Log: logging.Discard()}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after, err := os.ReadFile(filepath.Join(dir, AuthorityFile)); name != "not an authority" && (err != nil || !bytes.Equal(before, after)) { //nolint:gosec // a test
			t.Errorf("%s: the authority was replaced (%v)", name, err)
		}
	}
}

// The operator's files: changed one after the other, broken, removed.
func TestFiles(t *testing.T) {
	t.Parallel()
	c := newClock()
	pair := func() (certificate, key []byte) {
		l := local(t, t.TempDir(), c, logging.Discard(), "localhost")
		text, err := os.ReadFile(l.path(serverFile))
		if err != nil {
			t.Fatal(err)
		}
		certificate, key, _ = bytes.Cut(text, []byte("-----BEGIN PRIVATE KEY"))
		return certificate, append([]byte("-----BEGIN PRIVATE KEY"), key...)
	}
	put := func(path string, content []byte) {
		t.Helper()
		if err := durable.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	if _, err := NewFiles(certFile, keyFile, logging.Discard()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no files: %v", err)
	}
	cert1, key1 := pair()
	cert2, key2 := pair()
	put(certFile, cert1)
	put(keyFile, key2)
	if _, err := NewFiles(certFile, keyFile, logging.Discard()); err == nil {
		t.Error("no pair, no error")
	}
	put(keyFile, key1)
	var log bytes.Buffer
	f, err := NewFiles(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := func() *tls.Certificate { return f.current(context.Background()) }
	first := now()
	put(certFile, cert2)
	for range 2 {
		if now() != first {
			t.Error("half a change counts")
		}
	}
	put(keyFile, key2)
	second := now()
	if second.Leaf.Equal(first.Leaf) || now() != second {
		t.Error("the change does not count")
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if now() != second {
			t.Error("the removal counts")
		}
	}
	put(keyFile, key1)
	put(certFile, cert1)
	if !now().Leaf.Equal(first.Leaf) {
		t.Error("the files are back and do not count")
	}
	if got := strings.Count(log.String(), "certificate not reloaded"); got != 2 {
		t.Errorf("%d warnings, want one for each new fault:\n%s", got, log.String())
	}
}
