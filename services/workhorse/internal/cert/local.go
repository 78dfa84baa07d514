package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/kit/logging"
)

// Files of a local authority. The certificate of the authority is for clients to
// trust; everything else is secret.
const (
	AuthorityFile = "ca.crt"
	authorityKey  = "ca.key"
	serverFile    = "server.pem" // certificate and key, replaced in one step
	lockFile      = "lock"
)

// retryAfter is how long a failed renewal is left alone.
const retryAfter = time.Minute

// LocalOptions say where a local authority is kept and what it is for.
type LocalOptions struct {
	Dir   string   // made if absent; replicas share it
	Names []string // host names and IP addresses of the server
	Now   func() time.Time
	Log   *slog.Logger
}

// Local is a certificate from an authority that was made on the spot, for hosts
// that no public authority would vouch for. The authority can sign for its own
// names only, so that whoever trusts it does not have to trust it with the rest of
// the world. Safe for concurrent use, by several processes too.
type Local struct {
	o     LocalOptions
	names names

	mu     sync.Mutex
	files  *Files
	tryNot time.Time // before which a renewal is not tried
}

// NewLocal makes the authority and the certificate, or takes those that are there.
// A key that others may read is an error.
func NewLocal(ctx context.Context, o LocalOptions) (*Local, error) {
	parsed, err := parseNames(o.Names)
	if err != nil {
		return nil, err
	}
	l := &Local{o: o, names: parsed}
	if err := l.ensure(ctx); err != nil {
		return nil, fmt.Errorf("local authority %q: %w", o.Dir, err)
	}
	l.files, err = NewFiles(l.path(serverFile), l.path(serverFile), o.Log)
	return l, err
}

// Get is for tls.Config.GetCertificate. The handshake that finds the certificate
// in the last third of its life renews it, which takes a few milliseconds.
func (l *Local) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx := hello.Context()
	now := l.o.Now()
	if ageing(l.files.current(ctx).Leaf, now) && !now.Before(l.tryNot) {
		if err := l.ensure(ctx); err != nil {
			l.tryNot = now.Add(retryAfter)
			l.o.Log.ErrorContext(ctx, "certificate not renewed", slog.Any(logging.KeyError, err))
		}
	}
	return l.files.current(ctx), nil
}

func (l *Local) path(name string) string { return filepath.Join(l.o.Dir, name) }

// ensure makes what is missing, ageing, or for other names. One process at a time
// does it; the others then find it done.
func (l *Local) ensure(ctx context.Context) (err error) {
	if err := os.MkdirAll(l.o.Dir, 0o700); err != nil {
		return err
	}
	unlock, err := lock(l.path(lockFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	ca, err := l.authority(ctx)
	if err != nil {
		return err
	}
	if ca.vouchesFor(l.path(serverFile), l.names, l.o.Now()) {
		return nil
	}
	server, err := ca.issue(l.names, l.o.Now())
	if err != nil {
		return err
	}
	return durable.WriteFile(l.path(serverFile), server, 0o600)
}

// authority returns the one that is there or, if there is none or it cannot sign
// for the names, a new one. A new one is for the names of the old one too: else
// two replicas with different names would replace each other's for ever.
func (l *Local) authority(ctx context.Context) (*authority, error) {
	if _, err := os.Stat(l.path(AuthorityFile)); errors.Is(err, os.ErrNotExist) {
		return l.makeAuthority(l.names)
	}
	ca, err := loadAuthority(l.path(AuthorityFile), l.path(authorityKey))
	if err != nil {
		return nil, err // clients trust it: it is not for us to replace it
	}
	if ca.permits(l.names) && l.o.Now().Add(leafLife).Before(ca.certificate.NotAfter) {
		return ca, nil
	}
	l.o.Log.WarnContext(ctx, "a new local authority is made, which clients have to trust anew",
		slog.String("file", l.path(AuthorityFile)))
	return l.makeAuthority(l.names.and(ca.permitted()))
}

func (l *Local) makeAuthority(n names) (*authority, error) {
	ca, key, err := newAuthority(n, l.o.Now())
	if err != nil {
		return nil, err
	}
	// The certificate comes last: without it the key counts for nothing.
	err = errors.Join(
		durable.WriteFile(l.path(authorityKey), key, 0o600),
		durable.WriteFile(l.path(AuthorityFile), encodeCertificate(ca.certificate), 0o600),
	)
	return ca, err
}

// ageing reports whether two thirds of the certificate's life are over.
func ageing(leaf *x509.Certificate, now time.Time) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return now.After(leaf.NotBefore.Add(life / 3 * 2))
}

// lock keeps other processes out until unlock is called.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", path, err), f.Close())
	}
	return f.Close, nil
}
