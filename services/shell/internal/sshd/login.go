package sshd

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/session"
)

const (
	maxAuthTries  = 6
	keyCheckLimit = 10 * time.Second
	minRSABits    = 2048
	maxRSABits    = 8192

	// What the library hands back of a verified key: one of the first two, and of a
	// certificate perhaps the third.
	keyIDExtension     = "key-id"
	usernameExtension  = "username"
	namespaceExtension = "namespace"
)

// login is what happened before a connection had a user. The library's one
// goroutine writes it; sessions read it after the login is over.
type login struct {
	user       string // the name of the last attempt; only for the log
	offered    string // fingerprint of the last key offered; only for the log
	took       time.Duration
	keyLookups time.Duration // the part of took that the look-ups needed
	apiFailed  bool
}

var (
	errNoneRefused = errors.New("method none is not accepted")
	errWrongUser   = errors.New("user name is not accepted")
)

// config sets up the handshake. It offers public keys and nothing else.
func (c *connection) config(lib ssh.Context) *gossh.ServerConfig {
	a := c.srv.opts.Algorithms
	conf := &gossh.ServerConfig{
		Config:                  gossh.Config{KeyExchanges: a.KeyExchanges, Ciphers: a.Ciphers, MACs: a.MACs},
		PublicKeyAuthAlgorithms: a.PublicKeys,
		MaxAuthTries:            maxAuthTries,
		PublicKeyCallback:       c.checkKey,
		ServerVersion:           Identification,
		// gliderlabs/ssh sets NoClientAuth when none of its own handlers is used.
		// Its handlers cannot be: they keep one set of permissions for all keys
		// that are offered. So the method "none" gets a callback that refuses it.
		NoClientAuthCallback: func(gossh.ConnMetadata) (*gossh.Permissions, error) { return nil, errNoneRefused },
	}
	conf.AuthLogCallback = func(meta gossh.ConnMetadata, _ string, err error) {
		c.login.user = meta.User()
		if err == nil {
			c.loggedIn(lib)
		}
	}
	return conf
}

// checkKey decides whether a key may log in, and ties the id to that key: the
// library returns these permissions only if this very key signs, and asks again
// when another key was offered in between.
func (c *connection) checkKey(meta gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	cert, isCert := key.(*gossh.Certificate)
	if !isCert && meta.User() != c.srv.opts.User {
		return nil, errWrongUser
	}
	if err := acceptable(key); err != nil {
		return nil, err
	}
	c.login.offered = gossh.FingerprintSHA256(key)
	started := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, keyCheckLimit)
	defer cancel()
	var perms *gossh.Permissions
	var err error
	if isCert {
		perms, err = c.checkCertificate(ctx, meta.User(), cert)
	} else {
		perms, err = c.lookUp(ctx, key)
	}
	c.login.keyLookups += time.Since(started)
	return perms, err
}

func (c *connection) lookUp(ctx context.Context, key gossh.PublicKey) (*gossh.Permissions, error) {
	id, err := c.srv.deps.Keys.KeyID(ctx, base64.RawStdEncoding.EncodeToString(key.Marshal()))
	if err == nil && id < 1 {
		err = fmt.Errorf("key look-up answered with the id %d", id)
	}
	if err != nil {
		if errs.KindOf(err) != errs.NotFound {
			c.login.apiFailed = true
			c.srv.deps.Log.ErrorContext(ctx, "key look-up failed", slog.Any(logging.KeyError, err))
		}
		return nil, fmt.Errorf("look up key: %w", err)
	}
	if fault.Enabled {
		fault.Point(ctx, fault.AfterKeyLookup, "key-"+strconv.FormatInt(id, 10))
	}
	return &gossh.Permissions{Extensions: map[string]string{keyIDExtension: strconv.FormatInt(id, 10)}}, nil
}

// checkCertificate judges a certificate; its own list of addresses goes back to the
// library, which enforces it. Of its extensions none counts here.
func (c *connection) checkCertificate(ctx context.Context, principal string, cert *gossh.Certificate) (*gossh.Permissions, error) {
	who, err := c.srv.deps.Certificates.Identity(ctx, principal, cert)
	facts := []any{
		slog.String("ssh_user", principal), slog.String("certificate_identity", cert.KeyId),
		slog.String("public_key_fingerprint", gossh.FingerprintSHA256(cert.Key)),
		slog.String("signing_ca_fingerprint", gossh.FingerprintSHA256(cert.SignatureKey)),
	}
	if err != nil {
		c.login.apiFailed = c.login.apiFailed || errs.KindOf(err) == errs.Unavailable
		c.srv.deps.Log.WarnContext(ctx, "certificate rejected", append(facts, slog.Any(logging.KeyError, err))...)
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c.srv.deps.Log.InfoContext(ctx, "certificate accepted",
		append(facts, slog.String("certificate_username", who.Username), slog.String("namespace", who.Namespace))...)
	return &gossh.Permissions{
		CriticalOptions: cert.CriticalOptions,
		Extensions:      map[string]string{usernameExtension: who.Username, namespaceExtension: who.Namespace},
	}, nil
}

// acceptable refuses kinds of keys that no configuration allows.
func acceptable(key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	if key.Type() == gossh.InsecureKeyAlgoDSA { //nolint:staticcheck // named in order to refuse it
		return errors.New("DSA is prohibited")
	}
	if k, ok := key.(gossh.CryptoPublicKey); ok {
		if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok {
			if bits := r.N.BitLen(); bits < minRSABits || bits > maxRSABits {
				return fmt.Errorf("RSA key of %d bits: want %d to %d", bits, minRSABits, maxRSABits)
			}
		}
	}
	return nil
}

// identity returns who logged in, by what the library hands back of the key that
// signed. Without a key id or a name there is no user.
func identity(conn *gossh.ServerConn) (session.Identity, error) {
	if conn.Permissions == nil {
		return session.Identity{}, errors.New("connection has no permissions")
	}
	e := conn.Permissions.Extensions
	if name := e[usernameExtension]; name != "" {
		return session.Identity{Username: name, Namespace: e[namespaceExtension]}, nil
	}
	id, err := strconv.ParseInt(e[keyIDExtension], 10, 64)
	if err != nil || id < 1 {
		return session.Identity{}, fmt.Errorf("connection has no key id: %w", err)
	}
	return session.Identity{KeyID: id}, nil
}

// loggedIn ends the login phase and begins the keep-alives.
func (c *connection) loggedIn(lib ssh.Context) {
	if c.grace != nil {
		c.grace.Stop()
	}
	c.login.took = time.Since(c.started)
	c.isUser.Store(true)
	c.begun()
	c.srv.deps.Metrics.logins.Inc()
	c.srv.deps.Metrics.Phase("handshake", c.login.took-c.login.keyLookups)
	c.srv.deps.Metrics.Phase("key", c.login.keyLookups)
	if c.srv.opts.AliveInterval <= 0 || !c.own() {
		return
	}
	go func() {
		defer c.owned.Done()
		c.keepAlive(func() gossh.Conn {
			if conn, ok := lib.Value(ssh.ContextKeyConn).(*gossh.ServerConn); ok {
				return conn
			}
			return nil // the library has not finished the handshake
		})
	}()
}

// loginFailed notes a connection that never had a user (security baseline L3).
func (c *connection) loginFailed(err error) {
	level := slog.LevelDebug // port scans, health checks
	if c.login.user != "" {
		level = slog.LevelWarn
		c.srv.deps.Metrics.logins.Inc()
		if c.login.apiFailed {
			c.srv.deps.Metrics.loginErrors.Inc()
		}
	}
	c.srv.deps.Log.LogAttrs(c.ctx, level, "login failed",
		slog.String(logging.KeyRemoteAddr, c.remote()),
		slog.String("ssh_user", c.login.user),
		slog.String("key_fingerprint", c.login.offered),
		slog.Any(logging.KeyError, err))
}
