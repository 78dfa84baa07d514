package sshd

import (
	"errors"
	"fmt"
	"slices"

	gossh "golang.org/x/crypto/ssh"
)

// Algorithms are the names that the server offers, in order of preference.
type Algorithms struct {
	KeyExchanges, Ciphers, MACs, PublicKeys []string
}

// curve25519LibSSH is the old name of curve25519-sha256; the library keeps it apart.
const curve25519LibSSH = "curve25519-sha256@libssh.org"

// DefaultAlgorithms returns those of security baseline S3 that ssh-audit does not
// warn about: without group 14, whose modulus has 2048 bits, and without MACs that
// are made before encryption. The configuration can switch both on.
func DefaultAlgorithms() Algorithms {
	return Algorithms{
		KeyExchanges: []string{
			gossh.KeyExchangeMLKEM768X25519,
			gossh.KeyExchangeCurve25519,
			curve25519LibSSH,
			gossh.KeyExchangeDH16SHA512,
		},
		Ciphers: []string{
			gossh.CipherChaCha20Poly1305,
			gossh.CipherAES256GCM,
			gossh.CipherAES128GCM,
			gossh.CipherAES256CTR,
			gossh.CipherAES128CTR,
		},
		MACs: []string{gossh.HMACSHA256ETM, gossh.HMACSHA512ETM},
		PublicKeys: []string{
			gossh.KeyAlgoED25519,
			gossh.KeyAlgoSKED25519,
			gossh.KeyAlgoECDSA256,
			gossh.KeyAlgoECDSA384,
			gossh.KeyAlgoECDSA521,
			gossh.KeyAlgoSKECDSA256,
			gossh.KeyAlgoRSASHA512,
			gossh.KeyAlgoRSASHA256,
		},
	}
}

// Validate reports every name that the library does not know, and empty lists.
func (a Algorithms) Validate() error {
	safe, weak := gossh.SupportedAlgorithms(), gossh.InsecureAlgorithms()
	kex := append(slices.Concat(safe.KeyExchanges, weak.KeyExchanges), curve25519LibSSH)
	return errors.Join(
		known("kex_algorithms", a.KeyExchanges, kex),
		known("ciphers", a.Ciphers, slices.Concat(safe.Ciphers, weak.Ciphers)),
		known("macs", a.MACs, slices.Concat(safe.MACs, weak.MACs)),
		known("public_key_algorithms", a.PublicKeys, slices.Concat(safe.PublicKeyAuths, weak.PublicKeyAuths)),
	)
}

func known(key string, names, all []string) error {
	if len(names) == 0 {
		return fmt.Errorf("sshd.%s: the list is empty", key)
	}
	var faults []error
	for _, name := range names {
		if !slices.Contains(all, name) {
			faults = append(faults, fmt.Errorf("sshd.%s: unknown algorithm %q", key, name))
		}
	}
	return errors.Join(faults...)
}
