package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// ACMEProtocol is what an authority negotiates in the handshake of a TLS-ALPN-01
// challenge (RFC 8737), for tls.Config.NextProtos.
const ACMEProtocol = acmez.ACMETLS1Protocol

// ACMEOptions say which certificates are asked for, where, and where they are kept.
type ACMEOptions struct {
	Domains []string
	Email   string // where the authority may write to; may be empty
	// Directory is the URL of the authority; "" is Let's Encrypt.
	Directory string
	// RootsFile is a PEM file of what to trust when talking to the authority; "" is
	// the system's.
	RootsFile string
	// Storage is a directory. Replicas share it: one of them asks, any of them answers
	// the authority's challenges, all serve the certificate.
	Storage string
	// TLS and Plain are where the authority's challenges reach us, directly or
	// through a proxy that maps port 443 to the one and 80 to the other. Plain may be
	// nil.
	TLS, Plain net.Addr
	Log        *slog.Logger
}

// ACME is a certificate from a public authority, obtained and renewed in the
// background. Safe for concurrent use.
type ACME struct {
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	stop   func()
}

// NewACME begins to manage the certificates. It does not wait for the authority:
// until there is a certificate, handshakes fail. Close ends it.
func NewACME(ctx context.Context, o ACMEOptions) (*ACME, error) {
	roots, err := readRoots(o.RootsFile)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Storage, 0o700); err != nil {
		return nil, fmt.Errorf("storage of certificates: %w", err)
	}
	log := zap.New(zapCore{log: o.Log, ctx: ctx})
	a := &ACME{}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		Logger:           log,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: o.Storage}, Logger: log,
		// The authorities have ended OCSP.
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
	})
	a.stop = sync.OnceFunc(a.cache.Stop)
	host, tlsPort := hostPort(o.TLS)
	_, plainPort := hostPort(o.Plain)
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: roots, Logger: log,
		// Our listeners answer: the library finds the ports taken and leaves them.
		ListenHost: host, AltTLSALPNPort: tlsPort, AltHTTPPort: plainPort, DisableHTTPChallenge: o.Plain == nil,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	if err := a.manage(ctx, o.Domains); err != nil {
		a.Close()
		return nil, fmt.Errorf("manage certificates: %w", err)
	}
	return a, nil
}

// manage takes what is in storage, so that a restart is not noticed, and has the
// rest asked for in the background.
func (a *ACME) manage(ctx context.Context, domains []string) error {
	for _, domain := range domains {
		_, err := a.config.CacheManagedCertificate(ctx, domain)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return a.config.ManageAsync(ctx, domains)
}

// Get is for tls.Config.GetCertificate. The challenge of an authority gets the
// certificate that it asks for.
func (a *ACME) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.config.GetCertificate(hello)
}

// Challenges answers HTTP-01 challenges (RFC 8555 §8.3) and leaves the rest to next.
func (a *ACME) Challenges(next http.Handler) http.Handler { return a.issuer.HTTPChallengeHandler(next) }

// Close ends renewals, and gives locks back that other replicas may wait for. Closing
// twice is harmless.
func (a *ACME) Close() { a.stop() }

func hostPort(addr net.Addr) (host string, port int) {
	if addr == nil {
		return "", 0
	}
	host, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "", 0
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return "", 0
	}
	return host, port
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no certificate: %w", file, errors.ErrUnsupported)
	}
	return pool, nil
}
