// Package secret reads shared secrets from files. A secret that is missing, too
// short or readable by others stops the start (security-baseline.md T3).
package secret

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxSize = 4096

// Read returns the trimmed content of the file at path. It fails if the file is
// absent, empty or over 4 KiB, shorter than minLen bytes, or accessible to its
// group or to others.
func Read(path string, minLen int) ([]byte, error) {
	if path == "" {
		return nil, errors.New("no secret file is configured")
	}
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	value := bytes.TrimSpace(raw)
	if len(value) < minLen || len(value) == 0 {
		return nil, fmt.Errorf("secret file %q: %d bytes, need at least %d", path, len(value), max(minLen, 1))
	}
	return value, nil
}

// ReadBase64 reads a file that holds n bytes in standard base64, the form of the
// workhorse secret (wire/workhorse.md §2.1).
func ReadBase64(path string, n int) ([]byte, error) {
	text, err := Read(path, base64.StdEncoding.EncodedLen(n))
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(key) != n {
		return nil, fmt.Errorf("secret file %q: want the base64 form of %d bytes", path, n)
	}
	return key, nil
}

func readPrivate(path string) (_ []byte, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("secret file %q: mode %v, want a plain file of mode 0600 or 0400", path, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read secret %q: %w", path, err)
	}
	if len(raw) > maxSize {
		return nil, fmt.Errorf("secret file %q is over %d bytes", path, maxSize)
	}
	return raw, nil
}
