// Package api is the connection to rails-api: where it is, and how each request
// to it is stamped (wire/workhorse.md §1.3, §2.1).
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gitsplit/kit/netx"
)

// MediaType is that of rails-api's answers to workhorse, which no client may see.
const MediaType = "application/vnd.gitlab-workhorse+json"

// NotResponding writes the answer of a rails-api that is down
// (wire/workhorse.md §9.1).
func NotResponding(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, "GitLab is not responding") // the client left
}

// Options say where rails-api is.
type Options struct {
	Backend string // URL; its path is the relative URL root
	Socket  string // Unix socket that replaces host and port of Backend
	// Addresses of several rails-apis, host:port or unix:/path, which replace host
	// and port of Backend.
	Addresses     []string
	HeaderTimeout time.Duration
	ProbePause    time.Duration // before a lost rails-api is looked at again; 0 is a second
	Version       string        // sent in Gitlab-Workhorse
	Log           *slog.Logger  // nil for silence
}

// Client sends requests to the rails-apis. It is safe for concurrent use.
type Client struct {
	base    *url.URL
	version string
	pool    *pool
}

// New checks the options and returns a client. It connects on first use.
func New(o Options) (*Client, error) {
	base, err := ParseBackend(o.Backend)
	if err != nil {
		return nil, err
	}
	if o.Socket != "" && len(o.Addresses) > 0 {
		return nil, errors.New("give either one socket or several addresses")
	}
	addrs := o.Addresses
	switch {
	case o.Socket != "":
		addrs = []string{"unix:" + o.Socket}
	case len(addrs) == 0:
		addrs = []string{"tcp://" + hostPort(base)}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ProbePause == 0 {
		o.ProbePause = time.Second
	}
	p := &pool{log: o.Log, probeURL: *base.JoinPath("/-/readiness"), pause: o.ProbePause}
	for _, addr := range addrs {
		if _, _, err := netx.Split(addr); err != nil {
			return nil, err
		}
		p.backends = append(p.backends, newBackend(addr, o.HeaderTimeout))
	}
	p.ctx, p.cancel = context.WithCancel(context.Background()) // until Close
	return &Client{base: base, version: o.Version, pool: p}, nil
}

func newBackend(addr string, headerTimeout time.Duration) *backend {
	b := &backend{addr: addr, dial: netx.Dialer(addr)}
	b.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := b.dial(ctx)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		MaxIdleConnsPerHost:   100,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: headerTimeout,
		DisableCompression:    true, // bodies pass as they are
	}
	return b
}

// ParseBackend checks the URL of rails-api.
func ParseBackend(raw string) (*url.URL, error) {
	base, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", raw, err)
	}
	if base.Scheme != "http" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("backend %q: want http://host[:port][/root]", raw)
	}
	return base, nil
}

func hostPort(base *url.URL) string {
	if base.Port() != "" {
		return base.Host
	}
	return net.JoinHostPort(base.Hostname(), "80")
}

// Root returns the relative URL root, "" or "/gitlab".
func (c *Client) Root() string { return strings.TrimRight(c.base.EscapedPath(), "/") }

// Transport returns the pool of connections to the rails-apis.
func (c *Client) Transport() http.RoundTripper { return c.pool }

// Address makes out a request to rails-api for the same resource. The host that
// the client named is kept as the request's Host.
func (c *Client) Address(out *http.Request) {
	out.URL.Scheme = c.base.Scheme
	out.URL.Host = c.base.Host
	out.Header.Set("Gitlab-Workhorse", c.version)
}

// Check reports whether a rails-api accepts connections.
func (c *Client) Check(ctx context.Context) error {
	if err := c.pool.check(ctx); err != nil {
		return fmt.Errorf("rails-api: %w", err)
	}
	return nil
}

// Close ends the probes and drops idle connections.
func (c *Client) Close() { c.pool.close() }
