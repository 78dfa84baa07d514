package logging

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

type eventKey struct{}

// event collects what handlers learn about their request.
type event struct {
	mu    sync.Mutex
	attrs []slog.Attr
}

// WithEvent returns a context to which AddAttrs can add, and a function that
// returns what was added.
func WithEvent(ctx context.Context) (context.Context, func() []slog.Attr) {
	ev := &event{}
	return context.WithValue(ctx, eventKey{}, ev), func() []slog.Attr {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		return ev.attrs
	}
}

// AddAttrs adds facts (user, project, …) to the access line of the request that
// ctx belongs to. Without such a request it does nothing.
func AddAttrs(ctx context.Context, attrs ...slog.Attr) {
	if ev, ok := ctx.Value(eventKey{}).(*event); ok {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		ev.attrs = append(ev.attrs, attrs...)
	}
}

// HTTPAccess writes one access line per request. route names the request's
// route; it is asked after the handler ran, with the request the handler got.
// Run it inside correlation.Middleware.
func HTTPAccess(log *slog.Logger, route func(*http.Request) string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started := time.Now()
			ctx, added := WithEvent(r.Context())
			r = r.WithContext(ctx)
			body := &countingBody{ReadCloser: r.Body}
			r.Body = body
			rec := &recorder{ResponseWriter: w}
			defer func() {
				attrs := []slog.Attr{
					slog.String(KeyMethod, r.Method),
					slog.String(KeyRoute, route(r)),
					slog.String(KeyPath, r.URL.Path),
					slog.Int(KeyStatus, rec.Status()),
					slog.String(KeyRemoteAddr, r.RemoteAddr),
					slog.Int64(KeyBytesIn, body.read()),
					slog.Int64(KeyBytesOut, rec.written),
				}
				Access(ctx, log, started, append(attrs, added()...)...)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// recorder remembers the status and counts the bytes of a response.
type recorder struct {
	http.ResponseWriter
	status  int
	written int64
}

// Status returns the status sent, 200 if the handler sent none.
func (r *recorder) Status() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.written += int64(n)
	return n, err
}

// Hijack hands the connection over, which ends the response: with 101, as far as
// HTTP is concerned.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return c, buf, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// countingBody counts what the handler, or the transport on its behalf, reads.
type countingBody struct {
	io.ReadCloser
	mu sync.Mutex
	n  int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	b.n += int64(n)
	b.mu.Unlock()
	return n, err
}

func (b *countingBody) read() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}
