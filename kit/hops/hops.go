// Package hops asks the front doors of an installation whether they are well, as clients do. Each question returns what is, or as an error what is
// not well; the caller bounds it with the context.
package hops

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"gitsplit/kit/internalapi"
	"gitsplit/kit/secret"
)

// Door is where something listens.
type Door struct {
	// Addr is its host:port.
	Addr string
	// Proxied says that whoever comes begins with a PROXY header.
	Proxied bool
}

func (d Door) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.Addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil && d.Proxied {
		_, err = conn.Write([]byte("PROXY UNKNOWN\r\n")) // who does not say for whom it comes
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// HTTP asks whether everything behind the door is ready.
func (d Door) HTTP(ctx context.Context) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }}
	if _, err := get(ctx, transport, "http://"+d.Addr+"/-/readiness"); err != nil {
		return "", err
	}
	return d.Addr + ", and everything behind it is ready", nil
}

// soon is when a certificate is about to end; whoever renews it does so earlier.
const soon = 7 * 24 * time.Hour

// HTTPS does the handshake that clients do who come to name, and looks how long it will go well.
func (d Door) HTTPS(ctx context.Context, name string, roots *x509.CertPool) (string, error) {
	raw, err := d.dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = raw.Close() }() // nothing was sent
	conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name})
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("%s: %w", d.Addr, err)
	}
	ends := conn.ConnectionState().PeerCertificates[0].NotAfter
	text := fmt.Sprintf("%s, certificate for %s until %s", d.Addr, name, ends.Format(time.DateOnly))
	if time.Until(ends) < soon {
		return "", errors.New(text + ": it has not been renewed")
	}
	return text, nil
}

var errNoSSH = errors.New("no SSH server")

// SSH reads the server's greeting.
func (d Door) SSH(ctx context.Context) (string, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	const most = 255                    // RFC 4253 §4.2
	line, err := bufio.NewReaderSize(conn, most).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
		return "", fmt.Errorf("%s greets with %q: %w", d.Addr, line, errors.Join(errNoSSH, err))
	}
	return d.Addr + ", " + strings.TrimSpace(line), nil
}

// skew is how far clocks may be apart: tokens between services live for less than a minute.
const skew = 10 * time.Second

// External asks as the world does; who is behind a proxy learns here that it leads elsewhere.
func External(ctx context.Context, url string, roots *x509.CertPool) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	answer, err := get(ctx, transport, url+"/-/liveness")
	if err != nil {
		return "", err
	}
	if date, err := http.ParseTime(answer.Get("Date")); err == nil && time.Since(date).Abs() > skew {
		return "", fmt.Errorf("its clock is %v off", time.Since(date).Round(time.Second))
	}
	return url, nil
}

func get(ctx context.Context, transport *http.Transport, url string) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }() // the status says it
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return resp.Header, nil
}

// InternalAPI asks as gitlab-sshd and gitaly do, with their secret.
func InternalAPI(ctx context.Context, url, secretFile string) (string, error) {
	key, err := secret.Read(secretFile, 1)
	if err != nil {
		return "", err
	}
	const patience = 10 * time.Second // the context's, if that is shorter
	client, err := internalapi.New(internalapi.Config{URL: url, Secret: key, Timeout: patience})
	if err != nil {
		return "", err
	}
	defer client.Close()
	answer, err := client.Check(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	return "takes our secret, version " + answer.GitLabVersion, nil
}

// Roots are the authorities of this system, and the one in a file if it is there.
func Roots(file string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("authorities of this system: %w", err)
	}
	if text, err := os.ReadFile(file); err == nil { //nolint:gosec // the operator names it
		roots.AppendCertsFromPEM(text)
	}
	return roots, nil
}
