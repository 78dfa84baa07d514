package key

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Faults of an uploaded key, as an API shows them beside the field.
var (
	ErrInvalid = errors.New("is invalid")
	ErrType    = errors.New("type is forbidden. Must be ED25519, ED25519_SK, ECDSA, ECDSA_SK or RSA")
	ErrSize    = errors.New("must be an RSA key of 2048 to 8192 bits")
)

// Parsed is an uploaded public key.
type Parsed struct {
	Text        string // trimmed, one line
	Comment     string
	Fingerprint string
}

const (
	maxText    = 16384
	minRSABits = 2048
	maxRSABits = 8192
	maxBlob    = 16384
)

// Parse reads one line of an authorized_keys file without options and judges the
// key (security-baseline S2).
func Parse(text string) (Parsed, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxText || strings.ContainsAny(text, "\r\n\x00") {
		return Parsed{}, ErrInvalid
	}
	pub, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return Parsed{}, ErrInvalid
	}
	if err := acceptable(pub); err != nil {
		return Parsed{}, err
	}
	return Parsed{Text: text, Comment: comment, Fingerprint: fingerprint(pub.Marshal())}, nil
}

func acceptable(pub ssh.PublicKey) error {
	allowed := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSA,
	}
	if !slices.Contains(allowed, pub.Type()) {
		return ErrType
	}
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && (r.N.BitLen() < minRSABits || r.N.BitLen() > maxRSABits) {
			return ErrSize
		}
	}
	return nil
}

// FingerprintOfBlob returns the fingerprint of a key in wire format, given as
// base64 with or without padding, as gitlab-sshd and OpenSSH send it
// (wire/internal-api.md §3.3). Anything else is ErrInvalid.
func FingerprintOfBlob(blob string) (string, error) {
	if len(blob) > maxBlob {
		return "", ErrInvalid
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(blob, "="))
	if err != nil {
		return "", ErrInvalid
	}
	if _, err := ssh.ParsePublicKey(raw); err != nil {
		return "", ErrInvalid
	}
	return fingerprint(raw), nil
}

func fingerprint(wire []byte) string {
	sum := sha256.Sum256(wire)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}
