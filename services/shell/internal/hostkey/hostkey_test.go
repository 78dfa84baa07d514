package hostkey_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/hostkey"
)

func TestLoad_makesAndKeeps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, want string }{
		{"ssh_host_ed25519_key", ssh.KeyAlgoED25519},
		{"ssh_host_rsa_key", ssh.KeyAlgoRSA},
		{"anything", ssh.KeyAlgoED25519},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "secrets")
			path := filepath.Join(dir, tc.name)
			first := load(t, path)
			if got := first.PublicKey().Type(); got != tc.want {
				t.Errorf("key type: got %s, want %s", got, tc.want)
			}
			second := load(t, path)
			if !bytes.Equal(first.PublicKey().Marshal(), second.PublicKey().Marshal()) {
				t.Error("the second start has another key")
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode: got %v (%v), want 0600", info.Mode(), err)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("files left beside the key: %v", entries)
			}
		})
	}
}

func TestLoad_rsaWithoutSHA1(t *testing.T) {
	t.Parallel()
	signer := load(t, filepath.Join(t.TempDir(), "rsa"))
	multi, ok := signer.(ssh.MultiAlgorithmSigner)
	if !ok || !slices.Equal(multi.Algorithms(), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}) {
		t.Errorf("signature algorithms of the RSA host key: %v", multi)
	}
}

// Replicas that start at once on a shared directory must agree on one key.
func TestLoad_startedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	keys := make([]ssh.Signer, 8)
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = hostkey.Load(path); err != nil {
				t.Errorf("Load: %v", err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k == nil || !bytes.Equal(k.PublicKey().Marshal(), keys[0].PublicKey().Marshal()) {
			t.Fatal("two starts got different keys")
		}
	}
}

func TestLoad_refused(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		want    string
	}{
		{"not a key", []byte("hello"), 0o600, "parse"},
		{"empty", nil, 0o600, "parse"},
		{"short RSA", encode(t, weak), 0o600, "2048 bits"},
		{"NIST curve", encode(t, curve), 0o600, "want Ed25519 or RSA"},
		{"readable by others", []byte("x"), 0o644, "mode"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, tc.content, tc.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := hostkey.Load(path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load: got error %v, want one with %q", err, tc.want)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, tc.content) {
				t.Error("the file was changed")
			}
		})
	}
}

func load(t *testing.T, path string) ssh.Signer {
	t.Helper()
	signer, err := hostkey.Load(path)
	if err != nil {
		t.Fatalf("Load(%q): %v", path, err)
	}
	return signer
}

func encode(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}
