// Package correlation names one user action through all services. An id is born
// at the edge (an SSH connection, a public HTTP request, a job) and travels as
// X-Request-Id, as gRPC metadata and in the environment of git and its hooks.
package correlation

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"net/http"
	"time"
)

// Where the id travels (wire/internal-api.md §1.2, wire/gitaly.md §3 and §6.3).
const (
	Header      = "X-Request-Id"
	MetadataKey = "x-gitlab-correlation-id"
	EnvKey      = "CORRELATION_ID"
)

const maxLen = 128

type contextKey struct{}

// Crockford's alphabet: ids sort by time and survive being read aloud.
var encoding = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewID returns a fresh id of 26 characters: 48 bits of milliseconds, then 80
// random bits.
func NewID() string {
	var b [18]byte                                                    // the upper two bytes of the time are zero and left out
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())) //nolint:gosec // positive until long after us
	_, _ = rand.Read(b[8:])                                           // never fails (crypto/rand)
	return encoding.EncodeToString(b[2:])
}

// Valid reports whether an id from outside may be adopted: 1 to 128 characters
// out of letters, digits, '-', '_' and '.', so that it is safe in any log or header.
func Valid(id string) bool {
	if id == "" || len(id) > maxLen {
		return false
	}
	for _, c := range []byte(id) {
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !alnum && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// With returns a context that carries the id.
func With(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// ID returns the context's id, or "".
func ID(ctx context.Context) string {
	id, _ := ctx.Value(contextKey{}).(string)
	return id
}

// EnsureID returns ctx itself if it carries an id, else one with a new id.
func EnsureID(ctx context.Context) context.Context {
	if ID(ctx) != "" {
		return ctx
	}
	return With(ctx, NewID())
}

// Middleware gives each request an id and returns it to the client. The client's
// own X-Request-Id is adopted only if trust says so and it is Valid.
func Middleware(trust func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get(Header)
			if !Valid(id) || trust == nil || !trust(r) {
				id = NewID()
			}
			r.Header.Set(Header, id)
			w.Header().Set(Header, id)
			next.ServeHTTP(w, r.WithContext(With(r.Context(), id)))
		})
	}
}
