package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
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
	Automatic   string `toml:"automatic"`   // "local": from LocalAuthority
	MinVersion  string `toml:"min_version"` // tls1.2, the default, or tls1.3
	MaxVersion  string `toml:"max_version"`
}

// automaticLocal is the value of ListenerTLS.Automatic for the local authority.
const automaticLocal = "local"

// LocalAuthority is an authority made on the spot, for sites that no public one
// would vouch for.
type LocalAuthority struct {
	// Directory keeps its files, ca.crt for clients to trust among them. It is made
	// if absent. Replicas share it.
	Directory string `toml:"directory"`
	// Names are the host names and addresses that the certificate is for.
	Names []string `toml:"names"`
}

// tlsVersions are GitLab's words for the versions; older ones are refused
// (security-baseline.md H6).
var tlsVersions = map[string]uint16{"tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13}

func (t ListenerTLS) validate() error {
	var faults []error
	files := t.Certificate != "" || t.Key != ""
	switch {
	case !slices.Contains([]string{"", automaticLocal}, t.Automatic):
		faults = append(faults, fmt.Errorf("automatic: %q: want local", t.Automatic))
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

// wantsTLS reports whether a listener has this kind of automatic certificate.
func (c *Config) wantsTLS(automatic string) bool {
	return slices.ContainsFunc(append(slices.Clone(c.Listeners), c.Internal), func(l Listener) bool {
		return l.TLS.Automatic == automatic
	})
}

// certificates are the automatic ones of this process.
type certificates struct {
	local *cert.Local // nil if no listener wants it
}

func (c *Config) certificates(ctx context.Context, log *slog.Logger) (*certificates, error) {
	var have certificates
	if c.wantsTLS(automaticLocal) {
		var err error
		have.local, err = cert.NewLocal(ctx, cert.LocalOptions{
			Dir: c.LocalAuthority.Directory, Names: c.LocalAuthority.Names, Now: time.Now, Log: log,
		})
		if err != nil {
			return nil, err
		}
	}
	return &have, nil
}

// options returns how a listener does TLS.
func (c *certificates) options(t ListenerTLS, log *slog.Logger) (secure.Options, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, MaxVersion: tlsVersions[t.MaxVersion], NextProtos: secure.Protocols(),
	}
	if t.MinVersion != "" {
		config.MinVersion = tlsVersions[t.MinVersion]
	}
	if t.Automatic == automaticLocal {
		config.GetCertificate = c.local.Get
	} else {
		files, err := cert.NewFiles(t.Certificate, t.Key, log)
		if err != nil {
			return secure.Options{}, err
		}
		config.GetCertificate = files.Get
	}
	return secure.Options{Config: config, Timeout: handshakeTimeout, Log: log}, nil
}
