package home

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/ssh"

	"gitsplit/kit/durable"
	"gitsplit/kit/secret"
)

// HostKeys are the names of the SSH host keys, for Home.Secret, best first.
func HostKeys() []string { return []string{"ssh_host_ed25519_key", "ssh_host_rsa_key"} }

const rsaBits = 3072

// MakeHostKeys creates the SSH host keys that do not exist yet, in OpenSSH's own
// format, and returns the public keys in the order of HostKeys.
func (h Home) MakeHostKeys() ([]ssh.PublicKey, error) {
	makers := []func() (crypto.PrivateKey, error){newEd25519, newRSA}
	keys := make([]ssh.PublicKey, len(makers))
	for i, name := range HostKeys() {
		key, err := h.hostKey(h.Secret(name), makers[i])
		if err != nil {
			return nil, fmt.Errorf("host key: %w", err)
		}
		keys[i] = key
	}
	return keys, nil
}

// ReadHostKeys returns the public keys of the SSH host keys, in the order of
// HostKeys, or none if none of them is there. Some of them are an error: replicas
// that make up the others would not be one server to clients.
func (h Home) ReadHostKeys() ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	var missing []string
	for _, name := range HostKeys() {
		path := h.Secret(name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, name)
			continue
		}
		key, err := readHostKey(path)
		if err != nil {
			return nil, fmt.Errorf("host key: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 && len(missing) > 0 {
		return nil, fmt.Errorf("host key: %s is missing, the other is there", missing[0])
	}
	return keys, nil
}

func (h Home) hostKey(path string, generate func() (crypto.PrivateKey, error)) (ssh.PublicKey, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := createKey(path, generate); err != nil {
			return nil, err
		}
	}
	return readHostKey(path)
}

func readHostKey(path string) (ssh.PublicKey, error) {
	text, err := secret.Read(path, 1)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(append(bytes.TrimSpace(text), '\n'))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return signer.PublicKey(), nil
}

func createKey(path string, generate func() (crypto.PrivateKey, error)) error {
	key, err := generate()
	if err != nil {
		return fmt.Errorf("generate %q: %w", path, err)
	}
	block, err := ssh.MarshalPrivateKey(key, "gitsplit")
	if err != nil {
		return fmt.Errorf("encode %q: %w", path, err)
	}
	err = durable.CreateFile(path, pem.EncodeToMemory(block), 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil // made by someone else meanwhile; that one counts
	}
	return err
}

func newEd25519() (crypto.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func newRSA() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }
