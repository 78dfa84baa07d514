package sshd_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/sshd"
)

func blob(key gossh.PublicKey) string { return base64.RawStdEncoding.EncodeToString(key.Marshal()) }

func TestServer_login(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	key := s.addKey(t, 42)
	client, err := s.dialAs("git", gossh.PublicKeys(key))
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	defer client.Close()
	if got := string(client.ServerVersion()); got != "SSH-2.0-GitLab-SSHD" {
		t.Errorf("identification: got %q", got)
	}
	out, err := newSession(t, client).Output("hello world")
	if want := `key=42 line="hello world" protocol=""`; err != nil || string(out) != want {
		t.Errorf("command: got %q (%v), want %q", out, err, want)
	}
	if n := s.keys.count(); n != 1 {
		t.Errorf("query and signed attempt asked the API %d times, want once", n)
	}
}

// The security baseline asks for this proof: only public keys log in (S2).
func TestServer_otherMethodsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return make([]string, len(questions)), nil
	}
	for _, tc := range []struct {
		name string
		auth []gossh.AuthMethod
	}{
		{"none", nil},
		{"password", []gossh.AuthMethod{gossh.Password("secret")}},
		{"empty password", []gossh.AuthMethod{gossh.Password("")}},
		{"keyboard-interactive", []gossh.AuthMethod{gossh.KeyboardInteractive(answer)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, err := s.dialAs("git", tc.auth...)
			if err == nil {
				client.Close()
				t.Fatal("logged in")
			}
			// The client tries a method only if the server offers it.
			if !strings.Contains(err.Error(), "attempted methods [none]") {
				t.Errorf("refusal: got %v; the method was offered", err)
			}
		})
	}
	if n := s.keys.count(); n != 0 {
		t.Errorf("the API was asked %d times", n)
	}
}

func TestServer_keysRefused(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // the point of the test
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, user string
		key        gossh.Signer
		lookups    int
		apiErr     error
	}{
		{"unknown key", "git", newSigner(t), 1, nil},
		{"wrong user", "root", newSigner(t), 0, nil},
		{"user in other case", "Git", newSigner(t), 0, nil},
		{"weak RSA", "git", signerOf(t, weak), 0, nil},
		{"certificate", "git", certificate(t), 0, nil},
		{"API down", "git", newSigner(t), 1, errors.New("connection refused")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, runnerFunc(whoami), nil)
			s.keys.err = tc.apiErr
			if tc.name != "unknown key" {
				s.addPublicKey(tc.key.PublicKey(), 9)
			}
			client, err := s.dialAs(tc.user, gossh.PublicKeys(tc.key))
			if err == nil {
				client.Close()
				t.Fatal("logged in")
			}
			if n := s.keys.count(); n != tc.lookups {
				t.Errorf("the API was asked %d times, want %d", n, tc.lookups)
			}
		})
	}
}

func TestServer_sixTries(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	var keys []gossh.Signer
	for range 6 {
		keys = append(keys, newSigner(t))
	}
	client, err := s.dialAs("git", gossh.PublicKeys(append(keys, s.addKey(t, 7))...))
	if err == nil {
		client.Close()
		t.Error("logged in at the seventh try")
	}
	if n := s.keys.count(); n != 6 {
		t.Errorf("the API was asked %d times, want 6", n)
	}
}

func TestServer_panicStaysInItsConnection(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	key := s.addKey(t, 7)
	s.keys.panics = true
	if client, err := s.dialAs("git", gossh.PublicKeys(key)); err == nil {
		client.Close()
		t.Error("logged in")
	}
	s.keys.mu.Lock()
	s.keys.panics = false
	s.keys.mu.Unlock()
	client, err := s.dialAs("git", gossh.PublicKeys(key))
	if err != nil {
		t.Fatalf("log in after the panic: %v", err)
	}
	client.Close()
}

// A key id that is no id must not become a user.
func TestServer_keyWithoutID(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	if client, err := s.dialAs("git", gossh.PublicKeys(s.addKey(t, 0))); err == nil {
		client.Close()
		t.Error("logged in with the id 0")
	}
}

// forger presents a public key that it cannot sign for.
type forger struct {
	gossh.Signer
	key gossh.PublicKey
}

func (f forger) PublicKey() gossh.PublicKey { return f.key }

func TestServer_someoneElsesKey(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	victim, own := s.addKey(t, 1), s.addKey(t, 2)
	if client, err := s.dialAs("git", gossh.PublicKeys(forger{own, victim.PublicKey()})); err == nil {
		client.Close()
		t.Error("logged in with a signature of another key")
	}
}

func certificate(t *testing.T) gossh.Signer {
	t.Helper()
	authority, key := newSigner(t), newSigner(t)
	cert := &gossh.Certificate{
		Key: key.PublicKey(), CertType: gossh.UserCert, KeyId: "ada", ValidPrincipals: []string{"git"},
		ValidBefore: gossh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// The grace ends a login that hangs at any point, whatever deadlines the library sets.
func TestServer_loginGrace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, send string }{
		{"silent client", ""},
		{"client that says its version only", "SSH-2.0-Test\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, runnerFunc(whoami), func(o *sshd.Options) { o.LoginGrace = 50 * time.Millisecond })
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tc.send); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, conn); ended <- err }()
			_ = await(t, "the server to cut the connection", ended)
		})
	}
}

func TestServer_loginGraceEndsWithLogin(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), func(o *sshd.Options) { o.LoginGrace = 500 * time.Millisecond })
	client := s.dial(t)
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("an idle connection was cut after the login: %v", err)
	case <-time.After(time.Second):
	}
	if _, err := newSession(t, client).Output(""); err != nil {
		t.Errorf("session after the grace: %v", err)
	}
}

func TestServer_weakAlgorithmsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	key := s.addKey(t, 7)
	for _, tc := range []struct {
		name string
		conf gossh.Config
	}{
		{"group14 with SHA-1", gossh.Config{KeyExchanges: []string{gossh.InsecureKeyExchangeDH14SHA1}}},
		{"NIST curve", gossh.Config{KeyExchanges: []string{gossh.KeyExchangeECDHP256}}},
		{"CBC", gossh.Config{Ciphers: []string{gossh.InsecureCipherAES128CBC}}},
		{"SHA-1 MAC", gossh.Config{Ciphers: []string{gossh.CipherAES256CTR}, MACs: []string{gossh.HMACSHA1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, err := gossh.Dial("tcp", s.addr, &gossh.ClientConfig{
				Config: tc.conf, User: "git", Auth: []gossh.AuthMethod{gossh.PublicKeys(key)},
				HostKeyCallback: gossh.FixedHostKey(s.hostKey), Timeout: 10 * time.Second,
			})
			if err == nil {
				client.Close()
				t.Error("connected")
			}
		})
	}
}

func TestAlgorithms_Validate(t *testing.T) {
	t.Parallel()
	if err := sshd.DefaultAlgorithms().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	err := sshd.Algorithms{KeyExchanges: []string{"x"}, Ciphers: []string{"y"}, PublicKeys: []string{"z"}}.Validate()
	for _, want := range []string{"kex_algorithms", "ciphers", "macs: the list is empty", "public_key_algorithms"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate: got %v, want a fault about %s", err, want)
		}
	}
}
