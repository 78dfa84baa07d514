// Package sealed keeps what the database must hold and a copy of the database must
// not give away: values that are needed again are encrypted, values that are only
// compared are digested, both under the database key, which is a file of its own.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
)

// MinKey is the shortest database key, in bytes.
const MinKey = 32

// Box seals and digests. It is safe for concurrent use.
type Box struct {
	aead      cipher.AEAD
	digestKey []byte
	root      []byte
}

// New returns a Box with a database key.
func New(key []byte) (*Box, error) {
	if len(key) < MinKey {
		return nil, fmt.Errorf("the database key has %d bytes, and %d are needed", len(key), MinKey)
	}
	b := &Box{root: key}
	sealing, err := b.Derive("seal")
	if err != nil {
		return nil, err
	}
	if b.digestKey, err = b.Derive("digest"); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("database key: %w", err)
	}
	b.aead, err = cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("database key: %w", err)
	}
	return b, nil
}

// Derive returns a key of 32 bytes for one purpose, so that no key serves two.
func (b *Box) Derive(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, b.root, nil, "gitsplit "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return key, nil
}

// ErrOpen means that a value was sealed with another key or for another place.
var ErrOpen = errors.New("a value cannot be opened with this database key")

// Seal encrypts a value. The place names the row and the column it is for: moved to
// another it does not open.
func (b *Box) Seal(value []byte, place string) []byte {
	return b.aead.Seal(nil, nil, value, []byte(place)) //nolint:gosec // this AEAD makes a random nonce itself
}

// Open is the inverse of Seal.
func (b *Box) Open(sealed []byte, place string) ([]byte, error) {
	value, err := b.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return nil, ErrOpen
	}
	return value, nil
}

// Digest returns the keyed digest of a value, for comparing.
func (b *Box) Digest(value string) []byte {
	mac := hmac.New(sha256.New, b.digestKey)
	mac.Write([]byte(value))
	return mac.Sum(nil)
}
