package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/services/shell/internal/session"
)

// byName lets every certificate in as who its identity says, for git only.
type byName struct{ namespace string }

func (b byName) Identity(_ context.Context, principal string, cert *gossh.Certificate) (session.Identity, error) {
	if principal != "git" {
		return session.Identity{}, errs.New(errs.NotFound, "wrong principal")
	}
	return session.Identity{Username: cert.KeyId, Namespace: b.namespace}, nil
}

// withCertificate returns a signer whose key has a certificate with these options.
func withCertificate(t *testing.T, options map[string]string) gossh.Signer {
	t.Helper()
	key := newSigner(t)
	cert := &gossh.Certificate{
		Key: key.PublicKey(), CertType: gossh.UserCert, KeyId: "ada", ValidBefore: gossh.CertTimeInfinity,
		Permissions: gossh.Permissions{CriticalOptions: options, Extensions: map[string]string{"key-id": "1", "username": "root"}},
	}
	if err := cert.SignCert(rand.Reader, newSigner(t)); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestServer_certificate(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	s.certificates = byName{namespace: "team"}
	client, err := s.dialAs("git", gossh.PublicKeys(withCertificate(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	out, err := newSession(t, client).Output("x")
	if want := `key=0 line="x" protocol="" username="ada" namespace="team"`; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if n := s.keys.count(); n != 0 {
		t.Errorf("the API was asked for a key %d times", n)
	}
	if !strings.Contains(s.log.String(), `"certificate_username":"ada"`) {
		t.Errorf("log: %s", s.log)
	}
}

func TestServer_certificateRefused(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	s.certificates = byName{}
	for name, try := range map[string]func() (*gossh.Client, error){
		"other principal": func() (*gossh.Client, error) { return s.dialAs("root", gossh.PublicKeys(withCertificate(t, nil))) },
		"other address": func() (*gossh.Client, error) {
			return s.dialAs("git", gossh.PublicKeys(withCertificate(t, map[string]string{"source-address": "192.0.2.0/24"})))
		},
		"not the signer": func() (*gossh.Client, error) {
			return s.dialAs("git", gossh.PublicKeys(forger{newSigner(t), withCertificate(t, nil).PublicKey()}))
		},
	} {
		if client, err := try(); err == nil {
			client.Close()
			t.Errorf("%s: logged in", name)
		}
	}
	client, err := s.dialAs("git", gossh.PublicKeys(withCertificate(t, map[string]string{"source-address": "127.0.0.0/8"})))
	if err != nil {
		t.Fatalf("from its address: %v", err)
	}
	client.Close()
}

// What was offered before does not stick: the identity is that of the key that
// signed. OpenSSH offers the victim's public key, which the server accepts, finds
// that it cannot read the private one, and goes on to the next.
func TestServer_offeredFirst(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	s.certificates = byName{}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := func(name, passphrase string, id int64) string {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := gossh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
		if passphrase == "" {
			block, err = gossh.MarshalPrivateKey(key, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		pub := signerOf(t, key).PublicKey()
		s.addPublicKey(pub, id)
		write(name+".pub", gossh.MarshalAuthorizedKey(pub))
		return write(name, pem.EncodeToMemory(block))
	}
	victim, own := keyFile("victim", "secret", 1), keyFile("own", "", 2)
	write("victim-cert.pub", gossh.MarshalAuthorizedKey(withCertificate(t, nil).PublicKey()))
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-i", victim, "-i", own, "git@"+host, "x")
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != `key=2 line="x" protocol=""` {
		t.Errorf("%q, %v: %s", out, err, &stderr)
	}
	if n := s.keys.count(); n != 2 {
		t.Errorf("the API was asked about %d keys, want both", n)
	}
}
