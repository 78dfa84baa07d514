package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Timeouts bound how long a peer may move no byte while workhorse waits for it
// (security-baseline.md H1). A transfer that moves has no total limit.
type Timeouts struct {
	Read time.Duration // one read of a request body
	// Write is for one write of a response, up to 64 KiB: it must leave room for
	// a slow line, and for a person who has stopped git for a moment.
	Write time.Duration
}

// watch applies the timeouts to a request.
func (t Timeouts) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
			body := &timedBody{ReadCloser: r.Body, rc: rc, limit: t.Read}
			defer body.detach()
			if setDeadline(rc.SetReadDeadline, time.Now().Add(t.Read)) != nil {
				return // the connection is gone
			}
			r.Body = body
		}
		tw := &timedWriter{ResponseWriter: w, rc: rc, limit: t.Write}
		next.ServeHTTP(tw, r)
		_ = tw.extend() // for what the server still writes; its own write reports a lost connection
	})
}

// timedBody gives each read its own deadline. At the end of the body none is left
// behind: the server watches the connection for the rest of the request, and a
// deadline that passes there would look like the client's end. In a body that was
// not read to its end the deadline stays: the server reads on to throw it away.
type timedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	limit time.Duration

	mu       sync.Mutex
	detached bool // the connection has moved on to another request
}

func (b *timedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.detached {
		return 0, http.ErrBodyReadAfterClose
	}
	if err := setDeadline(b.rc.SetReadDeadline, time.Now().Add(b.limit)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// A connection that refuses the deadline is gone; a write will say so.
		_ = setDeadline(b.rc.SetReadDeadline, time.Time{})
	}
	return n, err
}

// detach keeps a reader that is late (the transport may be one) away from the
// connection's deadlines.
func (b *timedBody) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = true
}

// timedWriter gives each write its own deadline.
type timedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

func (w *timedWriter) extend() error {
	return setDeadline(w.rc.SetWriteDeadline, time.Now().Add(w.limit))
}

func (w *timedWriter) Write(p []byte) (int, error) {
	if err := w.extend(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// FlushError flushes under a deadline of its own.
func (w *timedWriter) FlushError() error {
	if err := w.extend(); err != nil {
		return err
	}
	return w.rc.Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// setDeadline tolerates writers that have no connection below them.
func setDeadline(set func(time.Time) error, t time.Time) error {
	if err := set(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
