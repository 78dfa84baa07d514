// Package certificate decides whom an SSH user certificate names
// (wire/gitlab-shell.md §13). A certificate of an authority that this server trusts
// names a user of the whole installation; one of another authority names, if the
// internal API knows that authority, a user within a group.
package certificate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/session"
)

// Groups asks about the authorities of groups; internalapi.Client does.
type Groups interface {
	AuthorizedCerts(ctx context.Context, fingerprint, identifier string) (internalapi.AuthorizedCert, error)
}

// Checker judges certificates. It is safe for concurrent use.
type Checker struct {
	trusted []ssh.PublicKey
	groups  Groups // nil: certificates of groups are off
	now     func() time.Time
}

// New returns a Checker that trusts the authorities whose public keys stand in the
// files, one line each as in an authorized_keys file. Any bad file is an error.
func New(files []string, groups Groups, now func() time.Time) (*Checker, error) {
	c := &Checker{groups: groups, now: now}
	for _, file := range files {
		keys, err := readKeys(file)
		if err != nil {
			return nil, fmt.Errorf("trusted_user_ca_keys: %w", err)
		}
		c.trusted = append(c.trusted, keys...)
	}
	return c, nil
}

func readKeys(file string) ([]ssh.PublicKey, error) {
	rest, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for len(strings.TrimSpace(string(rest))) > 0 {
		key, _, options, after, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if _, isCert := key.(*ssh.Certificate); isCert || len(options) > 0 {
			return nil, fmt.Errorf("%s: want plain public keys, without options", file)
		}
		keys, rest = append(keys, key), after
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no public key", file)
	}
	return keys, nil
}

// sourceAddress is the one critical option that is understood; the SSH library
// enforces it once it is returned with the permissions.
const sourceAddress = "source-address"

var errDisabled = errors.New("feature is disabled")

// Identity returns whom the certificate names when principal logs in with it. Every
// fault refuses it; errs.NotFound means that no authority that anybody trusts signed it.
func (c *Checker) Identity(ctx context.Context, principal string, cert *ssh.Certificate) (session.Identity, error) {
	if cert.CertType != ssh.UserCert {
		return session.Identity{}, errors.New("not a user certificate")
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: c.now}
	if err := checker.CheckCert(principal, cert); err != nil {
		return session.Identity{}, err
	}
	if err := checkSignature(cert.Signature.Format); err != nil {
		return session.Identity{}, err
	}
	if c.trusts(cert.SignatureKey) {
		if err := checkName(cert.KeyId); err != nil {
			return session.Identity{}, err
		}
		return session.Identity{Username: cert.KeyId}, nil
	}
	if c.groups == nil {
		return session.Identity{}, errs.Wrap(errs.NotFound, errDisabled.Error(), errDisabled)
	}
	return c.member(ctx, cert)
}

// member asks whom the authority of a group means. Its certificates name a user or
// the address of one's e-mail, so that only what can be neither is refused here.
func (c *Checker) member(ctx context.Context, cert *ssh.Certificate) (session.Identity, error) {
	if name := cert.KeyId; name == "" || len(name) > longestName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return session.Identity{}, errors.New("the certificate names nobody")
	}
	fingerprint := strings.TrimPrefix(ssh.FingerprintSHA256(cert.SignatureKey), "SHA256:")
	answer, err := c.groups.AuthorizedCerts(ctx, fingerprint, cert.KeyId)
	if e, ok := errors.AsType[*internalapi.Error](err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return session.Identity{}, errs.Wrap(errs.NotFound, e.Message, err)
	}
	if err != nil {
		return session.Identity{}, err
	}
	if !answer.Success || answer.Username == "" || answer.Namespace == "" {
		return session.Identity{}, errors.New("the answer about the certificate names nobody or no group")
	}
	return session.Identity{Username: answer.Username, Namespace: answer.Namespace}, nil
}

func (c *Checker) trusts(authority ssh.PublicKey) bool {
	blob := string(authority.Marshal())
	for _, key := range c.trusted {
		if string(key.Marshal()) == blob {
			return true
		}
	}
	return false
}

// checkSignature refuses what collisions can forge, which the library takes from an
// authority.
func checkSignature(format string) error {
	switch format {
	case ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA: //nolint:staticcheck // named in order to refuse it
		return fmt.Errorf("the certificate is signed with %s, which is SHA-1", format)
	}
	return nil
}

// longestName bounds what a certificate may call its holder, in bytes.
const longestName = 255

// checkName refuses names that no user has: 2 to 255 letters, digits, dots,
// underscores and dashes, alphanumeric at both ends, and no two of the signs in a row.
func checkName(name string) error {
	const shortest = 2
	bad := errors.New("the certificate's identity is no user name")
	if len(name) < shortest || len(name) > longestName {
		return bad
	}
	sign := true // as before the first letter: none may stand there
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
			sign = false
		case (b == '.' || b == '_' || b == '-') && !sign:
			sign = true
		default:
			return bad
		}
	}
	if sign {
		return bad
	}
	return nil
}
