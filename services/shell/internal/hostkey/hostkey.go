// Package hostkey loads the server's SSH host keys and makes those that are not
// there yet. A key that exists is never replaced: clients remember it.
package hostkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"gitsplit/kit/durable"
)

const (
	newRSABits = 3072
	minRSABits = 3072
	maxFile    = 64 << 10
)

// Load reads the private key at path for use as a host key. If there is no such
// file, it makes a key first: RSA if the file's name contains "rsa", else
// Ed25519. The file must be a plain one with no access for group and others; the
// key must be Ed25519 or RSA of at least 3072 bits (security baseline S3).
func Load(path string) (ssh.Signer, error) {
	raw, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("make host key %q: %w", path, err)
		}
		raw, err = read(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read host key %q: %w", path, err)
	}
	signer, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("host key %q: %w", path, err)
	}
	return signer, nil
}

func read(path string) (_ []byte, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("mode %v: want a plain file of mode 0600", info.Mode())
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// parse keeps RSA signatures with SHA-1 out, whatever the client asks for.
func parse(raw []byte) (ssh.Signer, error) {
	key, err := ssh.ParseRawPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *ed25519.PrivateKey:
		return signer, nil
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("RSA of %d bits, need at least %d", bits, minRSABits)
		}
		algorithms := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		return ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), algorithms)
	default:
		return nil, fmt.Errorf("%s: want Ed25519 or RSA", signer.PublicKey().Type())
	}
}

// Certify returns the keys that one of the files holds a host certificate for, with
// it, in the files' order. A certificate of no key here, or of a user, is an error.
func Certify(keys []ssh.Signer, files []string) ([]ssh.Signer, error) {
	var certified []ssh.Signer
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("host certificate: %w", err)
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(raw)
		if err != nil {
			return nil, fmt.Errorf("host certificate %q: %w", file, err)
		}
		cert, ok := pub.(*ssh.Certificate)
		if !ok || cert.CertType != ssh.HostCert {
			return nil, fmt.Errorf("host certificate %q: not a host certificate", file)
		}
		at := slices.IndexFunc(keys, func(k ssh.Signer) bool { return bytes.Equal(k.PublicKey().Marshal(), cert.Key.Marshal()) })
		if at < 0 {
			return nil, fmt.Errorf("host certificate %q: belongs to none of the host keys", file)
		}
		signer, err := ssh.NewCertSigner(cert, keys[at])
		if err != nil {
			return nil, fmt.Errorf("host certificate %q: %w", file, err)
		}
		certified = append(certified, signer)
	}
	return certified, nil
}

// create puts a new key at path. The file appears whole or not at all, and if
// another process was first, its key stays.
func create(path string) error {
	key, err := generate(path)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := durable.CreateFile(path, pem.EncodeToMemory(block), 0o600); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func generate(path string) (crypto.PrivateKey, error) {
	if strings.Contains(filepath.Base(path), "rsa") {
		return rsa.GenerateKey(rand.Reader, newRSABits)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}
