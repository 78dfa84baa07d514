package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"gitsplit/kit/errs"
)

// Bounds of a server that is slow to answer.
const (
	handshakeTimeout = 10 * time.Second
	headerTimeout    = 30 * time.Second
	downloadIdle     = 5 * time.Minute
)

// Download gets what is at the endpoint's URL, which must answer itself: redirects
// are not followed. An answer but a good one is errs.FailedPrecondition. The caller
// closes the body, whose reads end when nothing comes for a while.
func (e *Endpoint) Download(ctx context.Context) (_ io.ReadCloser, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL, nil)
	if err != nil {
		return nil, errs.New(errs.Invalid, "the URL of the remote is malformed")
	}
	if e.Authorization != "" {
		req.Header.Set("Authorization", e.Authorization)
	}
	transport := &http.Transport{
		DialContext: e.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: handshakeTimeout, ResponseHeaderTimeout: headerTimeout,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil && ctx.Err() == nil {
		return nil, errs.Wrap(errs.FailedPrecondition, e.Conceal("HTTP request failed: "+err.Error()), err)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(errs.New(errs.FailedPrecondition, "HTTP server: "+http.StatusText(resp.StatusCode)), resp.Body.Close())
	}
	idle := time.AfterFunc(downloadIdle, cancel)
	return &patient{ReadCloser: resp.Body, idle: idle, cancel: cancel}, nil
}

// patient is a body that is given up when no byte comes for downloadIdle.
type patient struct {
	io.ReadCloser
	idle   *time.Timer
	cancel context.CancelFunc
}

// Read reads the body and begins to wait anew.
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.idle.Reset(downloadIdle)
	return n, err
}

// Close closes the body.
func (p *patient) Close() error {
	p.idle.Stop()
	p.cancel()
	return p.ReadCloser.Close()
}
