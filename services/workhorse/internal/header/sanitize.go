package header

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
)

// Policy says whose claims about a client are believed.
type Policy struct {
	// Internal is set on the internal listener: its peers are our own shell and
	// gitaly, which name themselves by token and forward a client's address.
	Internal bool
	// Trusted are the proxies whose X-Forwarded-* headers are believed.
	Trusted []netip.Prefix
	// Propagate adopts a client's X-Request-Id on a public listener too, if the
	// client is in PropagateFrom or that list is empty.
	Propagate     bool
	PropagateFrom []netip.Prefix
}

// TrustID reports whether the request's own X-Request-Id may be adopted
// (wire/workhorse.md §1.6).
func (p Policy) TrustID(r *http.Request) bool {
	if p.Internal {
		return true
	}
	return p.Propagate && (len(p.PropagateFrom) == 0 || contains(p.PropagateFrom, p.clientOf(r).addr))
}

type clientKey struct{}

// RemoteIP returns the client's address as Sanitize found it, or "".
func RemoteIP(ctx context.Context) string {
	ip, _ := ctx.Value(clientKey{}).(string)
	return ip
}

// Sanitize rewrites the request's headers to what may travel on to rails-api:
// nothing of the connection, nothing internal, and X-Forwarded-For, -Host and
// -Proto as found by the policy. X-Forwarded-For is always one address: rails-api
// needs no list of proxies to read it.
func (p Policy) Sanitize(next http.Handler) http.Handler {
	keep := keepNone
	if p.Internal {
		keep = keepShell
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := p.clientOf(r)
		ip := c.addr.String()
		RemoveHop(r.Header)
		removeInternal(r.Header, keep)
		SetForwarded(r.Header, ip, c.host, c.proto)
		// A Connection header may have named it.
		r.Header.Set(correlation.Header, correlation.ID(r.Context()))
		logging.AddAttrs(r.Context(), slog.String("remote_ip", ip))
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, ip)))
	})
}

// SetForwarded writes the three X-Forwarded headers.
func SetForwarded(h http.Header, ip, host, proto string) {
	h.Set("X-Forwarded-For", ip)
	h.Set("X-Forwarded-Host", host)
	h.Set("X-Forwarded-Proto", proto)
}
