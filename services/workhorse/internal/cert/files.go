// Package cert is where the certificates of HTTPS listeners come from: files of
// the operator's, an authority made here for local hosting, or a public authority
// that speaks ACME. None of them needs a restart for a new certificate.
package cert

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"gitsplit/kit/logging"
)

// Files is a certificate in two files, or in one that holds both. A change is seen
// at the next handshake. Safe for concurrent use.
type Files struct {
	certificate, key string
	log              *slog.Logger

	mu   sync.Mutex
	seen [2]version // of the last attempt to load
	now  *tls.Certificate
}

// version tells one content of a file from another.
type version struct {
	size     int64
	modified time.Time
	inode    uint64
}

// NewFiles loads the certificate chain and its key, both PEM. They are not a pair,
// or not there: an error.
func NewFiles(certificate, key string, log *slog.Logger) (*Files, error) {
	f := &Files{certificate: certificate, key: key, log: log}
	f.seen = f.versions()
	var err error
	f.now, err = f.load()
	return f, err
}

// Get is for tls.Config.GetCertificate. While the files are not a pair, as in the
// middle of a change, the certificate stays the last good one.
func (f *Files) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current(hello.Context()), nil
}

func (f *Files) current(ctx context.Context) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.versions()
	if seen == f.seen {
		return f.now
	}
	f.seen = seen
	fresh, err := f.load()
	if err != nil {
		f.log.WarnContext(ctx, "certificate not reloaded; the old one stays", slog.Any(logging.KeyError, err))
		return f.now
	}
	f.now = fresh
	f.log.InfoContext(ctx, "certificate reloaded", slog.String("file", f.certificate), slog.Time("not_after", fresh.Leaf.NotAfter))
	return f.now
}

func (f *Files) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %q, key %q: %w", f.certificate, f.key, err)
	}
	return &pair, nil
}

// versions looks at the files; one that is not there has the zero version.
func (f *Files) versions() (v [2]version) {
	for i, path := range []string{f.certificate, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			continue // load says what is wrong, once
		}
		v[i] = version{size: info.Size(), modified: info.ModTime()}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			v[i].inode = s.Ino
		}
	}
	return v
}
