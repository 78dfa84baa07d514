package certificate_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/certificate"
	"gitsplit/services/shell/internal/session"
)

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sha1Signer is an authority of old that signs with ssh-rsa.
func sha1Signer(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err = ssh.NewSignerWithAlgorithms(s.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issue makes a certificate for ada that change may spoil before it is signed.
func issue(t *testing.T, ca ssh.Signer, change func(*ssh.Certificate)) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: signer(t).PublicKey(), CertType: ssh.UserCert, KeyId: "ada", ValidPrincipals: []string{"git"},
		ValidAfter: 1000, ValidBefore: 3000,
	}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return cert
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pub")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// groups knows one authority.
type groups struct {
	fingerprint string
	answer      internalapi.AuthorizedCert
	err         error
}

func (g groups) AuthorizedCerts(_ context.Context, fingerprint, identifier string) (internalapi.AuthorizedCert, error) {
	if fingerprint != g.fingerprint || identifier != "ada" && identifier != "ada@example.org" {
		return internalapi.AuthorizedCert{}, &internalapi.Error{Status: 404, Message: "Certificate Not Found"}
	}
	return g.answer, g.err
}

func at(second int64) func() time.Time { return func() time.Time { return time.Unix(second, 0) } }

func TestChecker(t *testing.T) {
	t.Parallel()
	ca, groupCA, stranger := signer(t), signer(t), signer(t)
	known := groups{
		fingerprint: strings.TrimPrefix(ssh.FingerprintSHA256(groupCA.PublicKey()), "SHA256:"),
		answer:      internalapi.AuthorizedCert{Success: true, Namespace: "team", Username: "ada.l"},
	}
	trusted := file(t, "# ours\n"+string(ssh.MarshalAuthorizedKey(signer(t).PublicKey()))+"\n"+string(ssh.MarshalAuthorizedKey(ca.PublicKey())))
	c, err := certificate.New([]string{trusted}, known, at(2000))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		principal string
		cert      *ssh.Certificate
		want      session.Identity
		fault     string
	}{
		{"trusted", "git", issue(t, ca, nil), session.Identity{Username: "ada"}, ""},
		{"of a group", "git", issue(t, groupCA, nil), session.Identity{Username: "ada.l", Namespace: "team"}, ""},
		{"of a group, by e-mail", "git", issue(t, groupCA, func(c *ssh.Certificate) { c.KeyId = "ada@example.org" }),
			session.Identity{Username: "ada.l", Namespace: "team"}, ""},
		{"no principals", "whoever", issue(t, ca, func(c *ssh.Certificate) { c.ValidPrincipals = nil }), session.Identity{Username: "ada"}, ""},
		{"from its addresses", "git", issue(t, ca, func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"source-address": "192.0.2.0/24"} }),
			session.Identity{Username: "ada"}, ""},
		{"other principal", "root", issue(t, ca, nil), session.Identity{}, "principal"},
		{"unknown authority", "git", issue(t, stranger, nil), session.Identity{}, "Certificate Not Found"},
		{"host certificate", "git", issue(t, ca, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), session.Identity{}, "not a user certificate"},
		{"expired", "git", issue(t, ca, func(c *ssh.Certificate) { c.ValidBefore = 2000 }), session.Identity{}, "expired"},
		{"not yet valid", "git", issue(t, ca, func(c *ssh.Certificate) { c.ValidAfter = 2001 }), session.Identity{}, "not yet valid"},
		{"unknown critical option", "git", issue(t, ca, func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "ls"} }),
			session.Identity{}, "force-command"},
		{"changed after signing", "git", func() *ssh.Certificate {
			cert := issue(t, ca, nil)
			cert.KeyId = "root"
			return cert
		}(), session.Identity{}, "signature"},
		{"signed with SHA-1", "git", issue(t, sha1Signer(t), nil), session.Identity{}, "signed with ssh-rsa"},
		{"an e-mail address for a name", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "ada@example.org" }), session.Identity{}, "no user name"},
		{"of a group, no name", "git", issue(t, groupCA, func(c *ssh.Certificate) { c.KeyId = "" }), session.Identity{}, "names nobody"},
		{"of a group, line break", "git", issue(t, groupCA, func(c *ssh.Certificate) { c.KeyId = "ada\n" }), session.Identity{}, "names nobody"},
		{"of a group, no UTF-8", "git", issue(t, groupCA, func(c *ssh.Certificate) { c.KeyId = "ada\xff" }), session.Identity{}, "names nobody"},
		{"of a group, long name", "git", issue(t, groupCA, func(c *ssh.Certificate) { c.KeyId = strings.Repeat("a", 256) }), session.Identity{}, "names nobody"},
		{"no name", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "" }), session.Identity{}, "no user name"},
		{"short name", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "a" }), session.Identity{}, "no user name"},
		{"sign at the end", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "ada." }), session.Identity{}, "no user name"},
		{"sign at the beginning", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "-ada" }), session.Identity{}, "no user name"},
		{"two signs", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "a.-b" }), session.Identity{}, "no user name"},
		{"line break", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = "ada\nroot" }), session.Identity{}, "no user name"},
		{"long name", "git", issue(t, ca, func(c *ssh.Certificate) { c.KeyId = strings.Repeat("a", 256) }), session.Identity{}, "no user name"},
	} {
		got, err := c.Identity(t.Context(), tc.principal, tc.cert)
		if got != tc.want || (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%s: %+v, %v; want %+v, %q", tc.name, got, err, tc.want, tc.fault)
		}
	}
}

func TestChecker_groups(t *testing.T) {
	t.Parallel()
	groupCA := signer(t)
	fingerprint := strings.TrimPrefix(ssh.FingerprintSHA256(groupCA.PublicKey()), "SHA256:")
	cert := issue(t, groupCA, nil)
	down := errors.New("down")
	for _, tc := range []struct {
		name   string
		groups certificate.Groups
		kind   errs.Kind
		fault  string
	}{
		{"switched off", nil, errs.NotFound, "feature is disabled"},
		{"no member", groups{fingerprint: fingerprint, err: &internalapi.Error{Status: 403, Message: "Not an Enterprise User of the group"}},
			errs.NotFound, "Not an Enterprise User"},
		{"API down", groups{fingerprint: fingerprint, err: down}, errs.Internal, "down"},
		{"unclear answer", groups{fingerprint: fingerprint, answer: internalapi.AuthorizedCert{Success: true, Username: "ada"}}, errs.Internal, "names nobody or no group"},
		{"refused", groups{fingerprint: fingerprint, answer: internalapi.AuthorizedCert{Namespace: "team", Username: "ada"}}, errs.Internal, "names nobody"},
	} {
		c, err := certificate.New(nil, tc.groups, at(2000))
		if err != nil {
			t.Fatal(err)
		}
		who, err := c.Identity(t.Context(), "git", cert)
		if who != (session.Identity{}) || errs.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%s: %+v, %v", tc.name, who, err)
		}
	}
}

func TestNew_badFiles(t *testing.T) {
	t.Parallel()
	plain := string(ssh.MarshalAuthorizedKey(signer(t).PublicKey()))
	cert := string(ssh.MarshalAuthorizedKey(issue(t, signer(t), nil)))
	for name, path := range map[string]string{
		"absent": filepath.Join(t.TempDir(), "none"), "empty": file(t, "\n"), "no key": file(t, "hello\n"), "certificate": file(t, cert),
		"options": file(t, "cert-authority "+plain), "a bad line behind": file(t, plain+"hello\n"),
	} {
		if _, err := certificate.New([]string{path}, nil, time.Now); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
