package backup

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"

	"gitsplit/kit/durable"
	"gitsplit/kit/errs"
)

// Secrets are the files without which an installation would not be the same one: the key of secrets in the database, the SSH host keys, the
// authority for HTTPS, what the first account was given. They are encrypted with a passphrase (age, scrypt). The secrets that services only
// share among themselves, or with their PostgreSQL and Redis, are left out: the next installation has its own.
type Secrets struct {
	Dir         string // all of it; "" is none
	DatabaseKey string // file of the key, wherever it lies
	Passphrase  string // "" leaves secrets out
}

// MinPassphrase is the length of a passphrase, in bytes.
const MinPassphrase = 12

// databaseKeyName is the key's name in the archive.
const databaseKeyName = "rails_database_key"

// maxSecret bounds one file.
const maxSecret = 1 << 20

// work is the logarithm of scrypt's cost: 64 MiB and a fraction of a second.
const work = 16

func (s Secrets) wanted() bool { return s.Passphrase != "" }

// own reports whether a file belongs to the installation that it is in, and to no other: what its services share, and what containers have beside
// that (ctl/internal/containers).
func own(name string) bool {
	return filepath.Ext(name) == ".lock" || slices.Contains([]string{
		"gitlab_shell_secret", "gitlab_workhorse_secret", "gitaly_token",
		"postgres_password", "database_password", "database_url", "redis_password", "redis_url", "credentials",
	}, name)
}

// write writes the files, as an encrypted tar file, and returns their number.
func (s Secrets) write(w io.Writer) (count int, err error) {
	recipient, err := age.NewScryptRecipient(s.Passphrase)
	if err != nil {
		return 0, fmt.Errorf("passphrase: %w", err)
	}
	recipient.SetWorkFactor(work)
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return 0, fmt.Errorf("encrypt secrets: %w", err)
	}
	out := tar.NewWriter(sealed)
	add := func(name, path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		count++
		h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err = out.Write(content)
		return err
	}
	if err := errors.Join(add(databaseKeyName, s.DatabaseKey), s.walk(add)); err != nil {
		return count, err
	}
	return count, errors.Join(out.Close(), sealed.Close())
}

// walk calls add for every file of the directory that is to be kept.
func (s Secrets) walk(add func(name, path string) error) error {
	if s.Dir == "" {
		return nil
	}
	return filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("secrets: %w", err)
		}
		name, err := filepath.Rel(s.Dir, path)
		if err != nil || !e.Type().IsRegular() || name == databaseKeyName || own(name) {
			return err
		}
		return add(filepath.ToSlash(name), path)
	})
}

// read opens what write wrote and hands every file to each.
func (s Secrets) read(r io.Reader, each func(name string, content []byte) error) (count int, err error) {
	identity, err := age.NewScryptIdentity(s.Passphrase)
	if err != nil {
		return 0, fmt.Errorf("passphrase: %w", err)
	}
	identity.SetMaxWorkFactor(work)
	plain, err := age.Decrypt(r, identity)
	if err != nil {
		return 0, errs.Wrap(errs.Denied, "the passphrase does not open the secrets of this backup", err)
	}
	for in := tar.NewReader(plain); ; count++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil || !filepath.IsLocal(h.Name) || h.Typeflag != tar.TypeReg || h.Size > maxSecret {
			return count, errs.Wrap(errs.Invalid, "the secrets of this backup are damaged", err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return count, errs.Wrap(errs.Invalid, "the secrets of this backup are damaged", err)
		}
		if err := each(h.Name, content); err != nil {
			return count, err
		}
	}
}

// place puts a secret where it belongs.
func (s Secrets) place(name string, content []byte) error {
	path := filepath.Join(s.Dir, filepath.FromSlash(name))
	switch {
	case name == databaseKeyName:
		path = s.DatabaseKey
	case s.Dir == "", own(name):
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	return durable.WriteFile(path, content, 0o600)
}
