package front

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// HTTPS is what a site asks of clients that come without it. Whether one did, the
// policy of headers has found out: a trusted proxy may end TLS for us.
type HTTPS struct {
	// Redirect is the URL, without a path, that plain requests are sent to; "" is
	// none.
	Redirect string
	// HSTS is how long browsers are told to come over HTTPS only; 0 is not at all.
	HSTS time.Duration
}

// secured redirects plain requests and marks answers over HTTPS. Probes are answered
// where they come in: a load balancer follows no redirects.
func (f *Front) secured(o HTTPS, next http.Handler) http.Handler {
	if o == (HTTPS{}) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		safe := r.Header.Get("X-Forwarded-Proto") == "https"
		switch {
		case safe && o.HSTS > 0:
			w.Header().Set("Strict-Transport-Security", "max-age="+strconv.FormatInt(int64(o.HSTS.Seconds()), 10))
		case !safe && o.Redirect != "" && !f.isHealth(r):
			status := http.StatusPermanentRedirect
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				status = http.StatusMovedPermanently
			}
			http.Redirect(w, r, o.Redirect+r.URL.RequestURI(), status) //nolint:gosec // to the configured host: the rest begins with a slash
			return
		}
		next.ServeHTTP(w, r)
	})
}

// healthPaths are what tells how the whole chain is.
var healthPaths = []string{"/-/health", "/-/liveness", "/-/readiness"}

func (f *Front) isHealth(r *http.Request) bool {
	return slices.ContainsFunc(healthPaths, func(path string) bool { return f.exactly(path)(r, nil) })
}
