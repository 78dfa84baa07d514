// Package api is the connection to rails-api: where it is, and how each request
// to it is stamped (wire/workhorse.md §1.3, §2.1).
package api

import (
	"context"
	"fmt"
	"io"
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
	Backend       string // URL; its path is the relative URL root
	Socket        string // Unix socket that replaces host and port of Backend
	HeaderTimeout time.Duration
	Version       string // sent in Gitlab-Workhorse
}

// Client sends requests to rails-api. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	version   string
	transport *http.Transport
	dial      func(context.Context) (net.Conn, error)
}

// New checks the options and returns a client. It connects on first use.
func New(o Options) (*Client, error) {
	base, err := ParseBackend(o.Backend)
	if err != nil {
		return nil, err
	}
	addr := "tcp://" + hostPort(base)
	if o.Socket != "" {
		addr = "unix:" + o.Socket
	}
	if _, _, err := netx.Split(addr); err != nil {
		return nil, err
	}
	c := &Client{base: base, version: o.Version, dial: netx.Dialer(addr)}
	c.transport = &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		MaxIdleConnsPerHost:   100,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: o.HeaderTimeout,
		DisableCompression:    true, // bodies pass as they are
	}
	return c, nil
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

// Transport returns the pool of connections to rails-api.
func (c *Client) Transport() http.RoundTripper { return c.transport }

// Address makes out a request to rails-api for the same resource. The host that
// the client named is kept as the request's Host.
func (c *Client) Address(out *http.Request) {
	out.URL.Scheme = c.base.Scheme
	out.URL.Host = c.base.Host
	out.Header.Set("Gitlab-Workhorse", c.version)
}

// Check reports whether rails-api accepts connections.
func (c *Client) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("rails-api: %w", err)
	}
	return conn.Close()
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
