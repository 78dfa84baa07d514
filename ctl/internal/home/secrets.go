package home

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"gitsplit/kit/durable"
	"gitsplit/kit/secret"
)

// Names of the secrets, for Home.Secret.
const (
	ShellSecret     = "gitlab_shell_secret"
	WorkhorseSecret = "gitlab_workhorse_secret" //nolint:gosec // a file name
	GitalyToken     = "gitaly_token"
	DatabaseKey     = "rails_database_key"
	RootPassword    = "initial_root_password" //nolint:gosec // a file name
	RootToken       = "initial_root_token"    //nolint:gosec // a file name
)

// Password lengths that rails-api accepts; bcrypt looks at 72 bytes.
const (
	minPassword = 8
	maxPassword = 72
)

// MakeSecrets creates every secret that does not exist yet, mode 0600, and checks
// those that do. rootPassword, if not empty, becomes the initial password of root
// instead of a random one; kept reports that it was given but one existed already
// and differs, so that the caller can say that it had no effect.
func (h Home) MakeSecrets(rootPassword string) (kept bool, err error) {
	password := rootPassword
	if password == "" {
		password = readable()
	}
	if err := checkPassword(password); err != nil {
		return false, err
	}
	list := []struct {
		name, value string
		minLen      int
	}{
		{ShellSecret, hex.EncodeToString(random(32)), 32},
		{WorkhorseSecret, base64.StdEncoding.EncodeToString(random(32)), 44},
		{GitalyToken, hex.EncodeToString(random(32)), 32},
		{DatabaseKey, hex.EncodeToString(random(32)), 32},
		{RootPassword, password, minPassword},
		{RootToken, "glpat-" + lower32(random(25)), 20},
	}
	var errs []error
	for _, s := range list {
		errs = append(errs, h.makeSecret(s.name, s.value, s.minLen))
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	stored, err := h.ReadSecret(RootPassword)
	return rootPassword != "" && stored != rootPassword, err
}

// MakeSecret creates a secret of 32 random bytes in hexadecimal, unless it exists.
func (h Home) MakeSecret(name string) error {
	return h.makeSecret(name, hex.EncodeToString(random(32)), 32)
}

func (h Home) makeSecret(name, value string, minLen int) error {
	path := h.Secret(name)
	err := durable.CreateFile(path, []byte(value+"\n"), 0o600)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	_, err = secret.Read(path, minLen)
	return err
}

// ReadSecret returns the trimmed content of a secret.
func (h Home) ReadSecret(name string) (string, error) {
	value, err := secret.Read(h.Secret(name), 1)
	return string(value), err
}

func checkPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return fmt.Errorf("GITSPLIT_ROOT_PASSWORD: needs %d to %d bytes", minPassword, maxPassword)
	}
	if strings.TrimSpace(password) != password || strings.ContainsAny(password, "\x00\r\n") {
		return errors.New("GITSPLIT_ROOT_PASSWORD: must not begin or end with a space or hold a line break")
	}
	return nil
}

// readable returns 100 random bits as four groups of five letters and digits that
// are hard to mistake for each other.
func readable() string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32 signs: no l, o, 0, 1
	var text strings.Builder
	for i, b := range random(20) {
		if i > 0 && i%5 == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(alphabet[b%32])
	}
	return text.String()
}

func lower32(raw []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

// random returns n bytes of the system's generator, which cannot fail.
func random(n int) []byte {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return raw
}
