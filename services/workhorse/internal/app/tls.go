package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/cert"
	"gitsplit/services/workhorse/internal/secure"
)

// handshakeTimeout is a client's time for the TLS handshake, as for the headers of
// a request (security-baseline.md H1).
const handshakeTimeout = 10 * time.Second

// ListenerTLS makes a listener serve HTTPS. Its certificate is in files or
// automatic.
type ListenerTLS struct {
	Certificate string `toml:"certificate"` // PEM file: the chain, the server's own first
	Key         string `toml:"key"`         // PEM file
	Automatic   string `toml:"automatic"`   // "local": from LocalAuthority; "acme": from ACME
	MinVersion  string `toml:"min_version"` // tls1.2, the default, or tls1.3
	MaxVersion  string `toml:"max_version"`
}

// Values of ListenerTLS.Automatic.
const (
	automaticLocal = "local"
	automaticACME  = "acme"
)

// LocalAuthority is an authority made on the spot, for sites that no public one
// would vouch for.
type LocalAuthority struct {
	// Directory keeps its files, ca.crt for clients to trust among them. It is made
	// if absent. Replicas share it.
	Directory string `toml:"directory"`
	// Names are the host names and addresses that the certificate is for.
	Names []string `toml:"names"`
}

// ACME is a public authority that gives certificates for names that it can reach us
// by, at port 80 or 443. Having such a listener is agreeing to its terms.
type ACME struct {
	Domains []string `toml:"domains"`
	Email   string   `toml:"email"`
	// Directory is the authority's URL; "" is Let's Encrypt.
	Directory string `toml:"directory"`
	// CACertificate is a PEM file of what to trust when talking to it; "" is the system's.
	CACertificate string `toml:"ca_certificate"`
	// Storage is a directory for accounts, keys and certificates, made if absent.
	// Replicas share it.
	Storage string `toml:"storage"`
}

// tlsVersions are GitLab's words for the versions; older ones are refused
// (security-baseline.md H6).
var tlsVersions = map[string]uint16{"tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13}

func (t ListenerTLS) validate() error {
	var faults []error
	files := t.Certificate != "" || t.Key != ""
	switch {
	case !slices.Contains([]string{"", automaticLocal, automaticACME}, t.Automatic):
		faults = append(faults, fmt.Errorf("automatic: %q: want local or acme", t.Automatic))
	case t.Automatic != "" && files:
		faults = append(faults, errors.New("automatic: there are files of a certificate too: want one or the other"))
	case files:
		if _, err := cert.NewFiles(t.Certificate, t.Key, logging.Discard()); err != nil {
			faults = append(faults, err)
		}
	case t.Automatic == "" && t != ListenerTLS{}:
		faults = append(faults, errors.New("neither certificate and key nor automatic is set"))
	}
	for key, value := range map[string]string{"min_version": t.MinVersion, "max_version": t.MaxVersion} {
		if _, ok := tlsVersions[value]; value != "" && !ok {
			faults = append(faults, fmt.Errorf("%s: %q: want tls1.2 or tls1.3", key, value))
		}
	}
	if t.MinVersion == "tls1.3" && t.MaxVersion == "tls1.2" {
		faults = append(faults, errors.New("max_version: is older than min_version"))
	}
	return errors.Join(faults...)
}

func (a LocalAuthority) validate() error {
	var faults []error
	if a.Directory == "" {
		faults = append(faults, errors.New("directory: is empty"))
	}
	if err := cert.CheckNames(a.Names); err != nil {
		faults = append(faults, fmt.Errorf("names: %w", err))
	}
	return errors.Join(faults...)
}

func (a ACME) validate() error {
	var faults []error
	if a.Storage == "" {
		faults = append(faults, errors.New("storage: is empty"))
	}
	if err := cert.CheckNames(a.Domains); err != nil {
		faults = append(faults, fmt.Errorf("domains: %w", err))
	}
	if u, err := url.Parse(a.Directory); a.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		faults = append(faults, fmt.Errorf("directory: %q: want a URL of https", a.Directory))
	}
	return errors.Join(faults...)
}

// checkRedirect accepts "" and a URL of https that is only scheme and host.
func (c *Config) checkRedirect() error {
	u, err := url.Parse(c.RedirectToHTTPS)
	bare := err == nil && u.Scheme == "https" && u.Hostname() != "" && u.Scheme+"://"+u.Host == c.RedirectToHTTPS
	if c.RedirectToHTTPS != "" && !bare {
		return fmt.Errorf("%q: want https://host or https://host:port", c.RedirectToHTTPS)
	}
	return nil
}

// wantsTLS reports whether a listener has this kind of automatic certificate.
func (c *Config) wantsTLS(automatic string) bool {
	return slices.ContainsFunc(append(slices.Clone(c.Listeners), c.Internal, c.Metrics), func(l Listener) bool {
		return l.TLS.Automatic == automatic
	})
}

// certificates are the automatic ones of this process; nil where no listener wants
// them.
type certificates struct {
	local *cert.Local
	acme  *cert.ACME
}

// certificates makes what the listeners, which are open, want.
func (a *App) certificates(ctx context.Context, public []net.Listener) (certificates, error) {
	c := a.config
	var have certificates
	var err error
	if c.wantsTLS(automaticLocal) {
		have.local, err = cert.NewLocal(ctx, cert.LocalOptions{
			Dir: c.LocalAuthority.Directory, Names: c.LocalAuthority.Names, Now: time.Now, Log: a.log,
		})
		if err != nil {
			return have, fmt.Errorf("local_authority: %w", err)
		}
	}
	if c.wantsTLS(automaticACME) {
		o := cert.ACMEOptions{
			Domains: c.ACME.Domains, Email: c.ACME.Email, Directory: c.ACME.Directory, RootsFile: c.ACME.CACertificate,
			Storage: c.ACME.Storage, Log: a.log,
		}
		o.TLS, o.Plain = challenged(c.publicListeners(), public)
		if have.acme, err = cert.NewACME(ctx, o); err != nil {
			return have, fmt.Errorf("acme: %w", err)
		}
	}
	return have, nil
}

// challenged returns where a public authority's challenges may come in: the first
// listener with its certificates and the first without TLS, if any.
func challenged(settings []Listener, open []net.Listener) (secure, plain net.Addr) {
	for i, l := range settings {
		switch {
		case secure == nil && l.TLS.Automatic == automaticACME:
			secure = open[i].Addr()
		case plain == nil && l.TLS == ListenerTLS{} && l.Network != "unix":
			plain = open[i].Addr()
		}
	}
	return secure, plain
}

// options returns how a listener does TLS.
func (c certificates) options(t ListenerTLS, log *slog.Logger) (secure.Options, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, MaxVersion: tlsVersions[t.MaxVersion], NextProtos: secure.Protocols(),
	}
	if t.MinVersion != "" {
		config.MinVersion = tlsVersions[t.MinVersion]
	}
	switch t.Automatic {
	case automaticLocal:
		config.GetCertificate = c.local.Get
	case automaticACME:
		config.GetCertificate = c.acme.Get
		config.NextProtos = append(config.NextProtos, cert.ACMEProtocol)
	default:
		files, err := cert.NewFiles(t.Certificate, t.Key, log)
		if err != nil {
			return secure.Options{}, err
		}
		config.GetCertificate = files.Get
	}
	return secure.Options{Config: config, Timeout: handshakeTimeout, Log: log}, nil
}
