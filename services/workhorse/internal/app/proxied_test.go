package app_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/pires/go-proxyproto"

	"gitsplit/services/workhorse/internal/app"
)

// through returns a client whose connections begin with a PROXY header that names
// the source, or without one if it is "".
func (h *https) through(source string) *http.Client {
	h.t.Helper()
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: h.roots(), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			if err != nil || source == "" {
				return c, err
			}
			from := &net.TCPAddr{IP: net.ParseIP(source), Port: 1234}
			to := &net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 443}
			_, err = proxyproto.HeaderProxyFromAddrs(2, from, to).WriteTo(c)
			return c, err
		},
	}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// Behind a proxy that passes connections on, rails-api learns the client's address,
// over HTTP and HTTPS alike; who brings no header gets nothing.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, func(c *app.Config) { c.ProxyProtocol = true })
	for _, base := range []string{"http://" + h.addrs[0].String(), h.base} {
		if err := get(t, h.through("203.0.113.7"), base+"/api/v4/x"); err != nil {
			t.Fatal(err)
		}
		if got := h.rails.last().Header.Get("X-Forwarded-For"); got != "203.0.113.7" {
			t.Errorf("%s: rails-api was told of %q", base, got)
		}
		if err := get(t, h.through(""), base+"/api/v4/x"); err == nil {
			t.Errorf("%s: served without a PROXY header", base)
		}
	}
}

func TestProxyProtocol_notAllowed(t *testing.T) {
	t.Parallel()
	h := startHTTPS(t, func(c *app.Config) { c.ProxyProtocol, c.ProxyAllowed = true, []string{"192.0.2.0/24"} })
	if err := get(t, h.through("203.0.113.7"), h.base+"/api/v4/x"); err == nil {
		t.Error("a stranger chose its address")
	}
}

func get(t *testing.T, c *http.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}
