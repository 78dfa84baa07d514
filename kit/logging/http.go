package logging

import (
	"context"
	"io"
	"log/slog"
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
			rec := NewRecorder(w)
			defer func() {
				attrs := []slog.Attr{
					slog.String(KeyMethod, r.Method),
					slog.String(KeyRoute, route(r)),
					slog.String(KeyPath, r.URL.Path),
					slog.Int(KeyStatus, rec.Status()),
					slog.String(KeyRemoteAddr, r.RemoteAddr),
					slog.Int64(KeyBytesIn, body.read()),
					slog.Int64(KeyBytesOut, rec.Written()),
				}
				Access(ctx, log, started, append(attrs, added()...)...)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

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
