// Package internalapi is the HTTP interface between rails-api and the two callers
// that have no login of their own: gitlab-shell (and gitlab-sshd) and gitaly's
// hooks (wire/internal-api.md). It holds the messages, which rails-api shares, and
// the callers' client.
package internalapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/correlation"
)

const (
	defaultTimeout = 300 * time.Second
	firstWait      = time.Second // before the second attempt; doubles, at most maxWait
	maxWait        = 15 * time.Second
	maxAnswer      = 4 << 20
	// dialTimeout leaves a call the time to be made again: an instance that has just gone, with its address, does not
	// refuse connections but is silent.
	dialTimeout = 3 * time.Second
)

// ErrUnreachable is the error when no attempt brought a usable answer. Its text
// is the one users see (wire/internal-api.md §1.6).
var ErrUnreachable = errors.New("Internal API unreachable") //nolint:staticcheck,revive // shown to users as it is

// Error is an answer that refuses: 4xx or 5xx, or a redirect. Message is for the
// user, and empty only if the API's own message was.
type Error struct {
	Status  int
	Message string
}

// Error returns the user's text.
func (e *Error) Error() string { return e.Message }

// Config says how to reach the API.
type Config struct {
	URL             string        // http://, https:// or http+unix://<percent-encoded path>
	RelativeURLRoot string        // for Unix sockets only
	Secret          []byte        // key of the shell's JWT
	UserAgent       string        // "GitLab-Shell" or "gitaly/<version>"
	User, Password  string        // for basic authentication before the API; both or none
	CAFile, CAPath  string        // further authorities for https: a PEM file, a directory of them
	Timeout         time.Duration // per attempt; 0 is 300 s
	// Attempts is 3 for the shell, 1 (also the default) for gitaly. Connection
	// errors, 429 and 5xx other than 501 are tried again.
	Attempts int
	// RequireJSON refuses answers of another content type, as gitaly does.
	RequireJSON bool
	// Wrap puts something around each attempt, for metrics; nil is nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
	Now  func() time.Time // nil is time.Now
}

// Client calls the internal API. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base string
	http *http.Client
	idle func() // closes idle connections
}

// New returns a client. A URL of an unknown form is an error.
func New(cfg Config) (*Client, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	cfg.Attempts = max(cfg.Attempts, 1)
	if len(cfg.Secret) == 0 {
		return nil, errors.New("internal API: secret is empty")
	}
	base, socket, err := parseURL(cfg.URL, cfg.RelativeURLRoot)
	if err != nil {
		return nil, err
	}
	tr := &http.Transport{
		Proxy:               nil, // services reach each other directly
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     30 * time.Second, // below the server's 60 s, so that it never closes on us
		TLSHandshakeTimeout: 10 * time.Second,
	}
	if tr.TLSClientConfig, err = tlsConfig(cfg); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	tr.DialContext = dialer.DialContext
	if socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var around http.RoundTripper = tr
	if cfg.Wrap != nil {
		around = cfg.Wrap(tr)
	}
	httpClient := &http.Client{Transport: around, CheckRedirect: refuse, Timeout: cfg.Timeout}
	return &Client{cfg: cfg, base: base, http: httpClient, idle: tr.CloseIdleConnections}, nil
}

// tlsConfig trusts the system's authorities and those of the configuration
// (wire/internal-api.md §1.1).
func tlsConfig(cfg Config) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile == "" && cfg.CAPath == "" {
		return conf, nil
	}
	var err error
	if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
		return nil, fmt.Errorf("internal API: system certificates: %w", err)
	}
	files := []string{}
	if cfg.CAFile != "" {
		files = append(files, cfg.CAFile)
	}
	if cfg.CAPath != "" {
		entries, err := os.ReadDir(cfg.CAPath)
		if err != nil {
			return nil, fmt.Errorf("internal API: certificate directory: %w", err)
		}
		for _, e := range entries {
			if info, err := os.Stat(filepath.Join(cfg.CAPath, e.Name())); err == nil && info.Mode().IsRegular() {
				files = append(files, filepath.Join(cfg.CAPath, e.Name()))
			}
		}
	}
	for _, file := range files {
		pem, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("cannot find cafile '%s'", file)
		}
		conf.RootCAs.AppendCertsFromPEM(pem) // a directory may hold other files too
	}
	return conf, nil
}

func parseURL(raw, root string) (base, socket string, err error) {
	if path, ok := strings.CutPrefix(raw, "http+unix://"); ok {
		socket, err = url.PathUnescape(path)
		if err != nil || socket == "" {
			return "", "", fmt.Errorf("internal API URL %q names no socket", raw)
		}
		base = "http://unix"
		if root = strings.Trim(root, "/"); root != "" {
			base += "/" + root
		}
		return base + Prefix, socket, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", fmt.Errorf("unknown GitLab URL prefix: %q", raw)
	}
	return strings.TrimRight(raw, "/") + Prefix, "", nil
}

// Close releases idle connections.
func (c *Client) Close() { c.idle() }

// Get decodes the answer of a GET into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Post sends body as JSON and decodes the answer into out.
func (c *Client) Post(ctx context.Context, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request of %s: %w", path, err)
	}
	return c.do(ctx, http.MethodPost, path, raw, out)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	token, err := apijwt.Sign(c.cfg.Secret, apijwt.ShellIssuer, c.cfg.Now())
	if err != nil {
		return err
	}
	wait := firstWait
	for attempt := 1; ; attempt++ {
		status, answer, retryAfter, err := c.once(ctx, method, path, token, body)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		retryable := err != nil || status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented
		if !retryable || attempt >= c.cfg.Attempts {
			return c.conclude(status, answer, err, out)
		}
		if err := pause(ctx, max(wait/2+rand.N(wait), retryAfter)); err != nil { //nolint:gosec // jitter
			return err
		}
		wait = min(2*wait, maxWait)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type forwardedFor struct{}

// WithForwardedFor makes calls with this context say from which address the request
// came to the caller (wire/internal-api.md §1.2); "" is not said.
func WithForwardedFor(ctx context.Context, peer string) context.Context {
	return context.WithValue(ctx, forwardedFor{}, peer)
}

type answer struct {
	body        []byte
	contentType string
	location    string
}

func (c *Client) once(ctx context.Context, method, path, token string, body []byte) (int, answer, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, answer{}, 0, fmt.Errorf("build request of %s: %w", path, err)
	}
	if body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	req.Header.Set(apijwt.ShellHeader, token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if id := correlation.ID(ctx); id != "" {
		req.Header.Set(correlation.Header, id)
	}
	if peer, _ := ctx.Value(forwardedFor{}).(string); peer != "" {
		req.Header.Set("X-Forwarded-For", peer)
	}
	if c.cfg.User != "" && c.cfg.Password != "" {
		req.SetBasicAuth(c.cfg.User, c.cfg.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, answer{}, 0, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, answer{}, 0, fmt.Errorf("read answer of %s: %w", path, err)
	}
	if len(raw) > maxAnswer {
		return 0, answer{}, 0, fmt.Errorf("answer of %s is over %d bytes", path, maxAnswer)
	}
	after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
	return resp.StatusCode, answer{raw, resp.Header.Get("Content-Type"), resp.Header.Get("Location")}, min(after, maxWait), nil
}

// conclude turns the last attempt into the caller's result.
func (c *Client) conclude(status int, a answer, err error, out any) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case c.cfg.Attempts > 1 && (status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented):
		return fmt.Errorf("%w: status %d", ErrUnreachable, status)
	case status >= 400:
		return &Error{Status: status, Message: refusal(status, a.body)}
	case status > 300:
		return &Error{Status: status, Message: fmt.Sprintf("Internal API returned redirect (%d) to %q", status, a.location)}
	case status != http.StatusOK && status != http.StatusMultipleChoices && c.cfg.RequireJSON:
		return &Error{Status: status, Message: fmt.Sprintf("gitlab api is not accessible: %d", status)}
	}
	if c.cfg.RequireJSON {
		if mt, _, err := mime.ParseMediaType(a.contentType); err != nil || mt != "application/json" {
			return &ContentTypeError{ContentType: a.contentType}
		}
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return &DecodeError{Err: err}
	}
	return nil
}

// ContentTypeError is an answer that is not JSON by its header.
type ContentTypeError struct{ ContentType string }

// Error names the content type.
func (e *ContentTypeError) Error() string {
	return fmt.Sprintf("unsupported content type: %q", e.ContentType)
}

// DecodeError is a good status with a body that is not the expected JSON. Its
// text is the shell's (wire/internal-api.md §1.6); Err has the details.
type DecodeError struct{ Err error }

// Error returns the user's text.
func (e *DecodeError) Error() string { return "parsing failed" }

// Unwrap returns the decoder's error.
func (e *DecodeError) Unwrap() error { return e.Err }

// refusal returns the text for the user out of an error answer.
func refusal(status int, body []byte) string {
	var m struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Sprintf("Internal API error (%d)", status)
	}
	return m.Message
}
