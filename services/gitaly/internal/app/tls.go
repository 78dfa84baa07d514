package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"gitsplit/kit/backchannel"
)

// TLS is [tls]: the certificate of tls_listen_addr. The files may change while gitaly
// runs: new connections get what is in them.
type TLS struct {
	CertificatePath string `toml:"certificate_path"`
	KeyPath         string `toml:"key_path"`
	Key             string `toml:"key"`         // instead of key_path
	MinVersion      string `toml:"min_version"` // TLS 1.2, which is the default, or TLS 1.3
}

// versions are those that min_version may name.
var versions = map[string]uint16{"": tls.VersionTLS12, "TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// load reads the certificate and its key.
func (t TLS) load() (*tls.Certificate, error) {
	pem, err := os.ReadFile(t.CertificatePath)
	if err != nil {
		return nil, fmt.Errorf("tls.certificate_path: %w", err)
	}
	key := []byte(t.Key)
	if t.KeyPath != "" {
		if key, err = os.ReadFile(t.KeyPath); err != nil {
			return nil, fmt.Errorf("tls.key_path: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(pem, key)
	if err != nil {
		return nil, fmt.Errorf("tls: the certificate and its key: %w", err)
	}
	return &pair, nil
}

// faults are those of a TLS listener's settings.
func (t TLS) faults() []error {
	var faults []error
	if _, ok := versions[t.MinVersion]; !ok {
		faults = append(faults, fmt.Errorf("tls.min_version: %q is neither TLS 1.2 nor TLS 1.3", t.MinVersion))
	}
	switch {
	case t.CertificatePath == "":
		return append(faults, fmt.Errorf("tls.certificate_path: missing, tls_listen_addr needs it"))
	case (t.Key == "") == (t.KeyPath == ""):
		return append(faults, fmt.Errorf("tls.key_path: give it or tls.key, and not both"))
	}
	if _, err := t.load(); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// certificate is the present one, read again when its files have changed.
type certificate struct {
	files TLS
	log   *slog.Logger
	mu    sync.Mutex
	pair  *tls.Certificate
	state [2]fileState
}

// fileState tells whether a file has changed.
type fileState struct {
	size    int64
	changed time.Time
}

func newCertificate(files TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	c.state = c.look()
	var err error
	c.pair, err = files.load()
	return c, err
}

func (c *certificate) look() (state [2]fileState) {
	for i, name := range []string{c.files.CertificatePath, c.files.KeyPath} {
		if info, err := os.Stat(name); err == nil {
			state[i] = fileState{info.Size(), info.ModTime()}
		}
	}
	return state
}

// get is asked for each connection. Files that cannot be used are waited for: the old
// certificate serves until they can.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state := c.look(); state != c.state {
		c.state = state
		pair, err := c.files.load()
		if err != nil {
			c.log.Error("changed certificate cannot be used, the old one stays", slog.Any("error", err))
			return c.pair, nil
		}
		c.log.Info("certificate read again")
		c.pair = pair
	}
	return c.pair, nil
}

// tlsListener marks its connections as those that begin with a TLS handshake.
type tlsListener struct{ net.Listener }

type tlsConn struct{ net.Conn }

// Accept waits for a connection.
func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tlsConn{conn}, nil
}

// serverCreds are the handshakes of one server on listeners with and without TLS.
type serverCreds struct {
	credentials.TransportCredentials // without
	secure                           credentials.TransportCredentials
}

// newServerCreds returns them; cert may be nil when no listener has TLS.
func newServerCreds(cert *certificate, minVersion uint16) credentials.TransportCredentials {
	c := serverCreds{TransportCredentials: insecure.NewCredentials()}
	if cert != nil {
		c.secure = backchannel.NewTLS(&tls.Config{GetCertificate: cert.get, MinVersion: minVersion}) //nolint:gosec // at least 1.2
	}
	return backchannel.ServerCredentials(c)
}

// ServerHandshake does what the listener asks for.
func (c serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn, ok := raw.(tlsConn); ok {
		return c.secure.ServerHandshake(conn.Conn)
	}
	return c.TransportCredentials.ServerHandshake(raw)
}

// Clone returns the same: nothing in it changes.
func (c serverCreds) Clone() credentials.TransportCredentials { return c }
