package senddata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"gitsplit/services/workhorse/internal/header"
)

// urlParams are the parameters of send-url (wire/workhorse.md §5.3).
type urlParams struct {
	URL    string
	Method string
	Body   string
	Header http.Header

	AllowRedirects                     bool
	DialTimeout, ResponseHeaderTimeout string // "5s"; "" is the default
	ErrorResponseStatus                int    // 0 is 500
	TimeoutResponseStatus              int    // 0 is 500
	ResponseHeaders                    http.Header
	SSRFFilter, AllowLocalhost         bool
	AllowedURIs, AllowedEndpoints      []string // hosts that the filter lets pass; two names for one thing
	RestrictForwardedResponseHeaders   struct {
		Enabled   bool
		AllowList []string
	}
	TransformConfig map[string]any // is not offered
}

const urlTimeout = 30 * time.Second

// conditions are headers of the client that go to the target.
var conditions = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"}

// ofRails are headers that stay as rails-api set them, whatever the target says.
var ofRails = []string{"Cache-Control", "Expires", "Date", "Pragma", "X-Request-Id", "X-Accel-Buffering", "X-Content-Type-Options"}

// url sends what another server answers. Which one, rails-api alone says: nothing of
// the client's request goes there but conditions and ranges.
func (s *Sender) url(w http.ResponseWriter, r *http.Request, params string) error {
	var p urlParams
	if err := decode(params, &p); err != nil {
		return err
	}
	if len(p.TransformConfig) > 0 {
		return errors.New("TransformConfig is not supported")
	}
	client, err := p.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := p.request(r)
	if err != nil {
		return err
	}
	res, err := client.Do(req) //nolint:gosec // rails-api alone names the address, and says how it is filtered
	if err != nil {
		return p.failed(err)
	}
	defer func() { _ = res.Body.Close() }() // the answer ends here in any case
	p.headers(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(flushing{w, http.NewResponseController(w)}, res.Body)
	return err
}

// request is what the target is asked.
func (p *urlParams) request(r *http.Request) (*http.Request, error) {
	method := p.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(r.Context(), method, p.URL, strings.NewReader(p.Body))
	if err != nil {
		return nil, errors.New("send-url: the method or the address is none") // either may hold a secret
	}
	if p.Body == "" {
		req.Body = http.NoBody
	}
	for name, values := range p.Header {
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	for _, name := range conditions {
		if values := tameRanges(r).Header.Values(name); len(values) > 0 {
			req.Header[name] = values
		}
	}
	return req, nil
}

// headers puts those of the target over rails-api's, and over both what rails-api
// wants in any case.
func (p *urlParams) headers(dst, src http.Header) {
	header.RemoveHop(src)
	header.RemoveControl(src)
	for _, name := range ofRails {
		src.Del(name)
	}
	if restrict := p.RestrictForwardedResponseHeaders; restrict.Enabled {
		maps.DeleteFunc(src, func(name string, _ []string) bool {
			return !slices.ContainsFunc(restrict.AllowList, func(allowed string) bool { return strings.EqualFold(allowed, name) })
		})
	}
	maps.Copy(dst, src)
	for name, values := range p.ResponseHeaders {
		dst[http.CanonicalHeaderKey(name)] = values
	}
}

// failed gives a target that does not answer the status that rails-api chose.
func (p *urlParams) failed(err error) error {
	status := p.ErrorResponseStatus
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		status = p.TimeoutResponseStatus
	}
	if status < http.StatusBadRequest || status > 599 {
		status = http.StatusInternalServerError
	}
	return &refusal{status, http.StatusText(status), hideAddress(err)}
}

// client connects as rails-api wants it. Its connections are not kept: each request
// may want another way.
func (p *urlParams) client() (*http.Client, error) {
	dial, dialErr := timeout(p.DialTimeout)
	headers, headerErr := timeout(p.ResponseHeaderTimeout)
	if err := errors.Join(dialErr, headerErr); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dial}
	connect := dialer.DialContext
	if p.SSRFFilter {
		connect = p.filtered(dialer)
	}
	c := &http.Client{Transport: &http.Transport{
		DialContext: connect, TLSHandshakeTimeout: dial, ResponseHeaderTimeout: headers,
		DisableCompression: true, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}}
	if !p.AllowRedirects {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c, nil
}

func timeout(text string) (time.Duration, error) {
	if text == "" {
		return urlTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("send-url: %q is no time limit", text)
	}
	return d, nil
}

// filtered connects to public addresses only. It looks at the address of the
// connection itself, so no name can lead elsewhere the second time it is looked up.
func (p *urlParams) filtered(dialer *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	guarded := *dialer
	guarded.ControlContext = guardAddress(p.AllowLocalhost)
	allowed := endpoints(append(p.AllowedURIs, p.AllowedEndpoints...))
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if allowed[addr] {
			return dialer.DialContext(ctx, network, addr)
		}
		return guarded.DialContext(ctx, network, addr)
	}
}

// flushing sends each piece as it comes.
type flushing struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
