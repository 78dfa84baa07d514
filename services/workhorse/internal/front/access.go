package front

import (
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/logging"
)

// httpMetrics are those of every request, by route.
type httpMetrics struct {
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newHTTPMetrics(reg prometheus.Registerer) httpMetrics {
	labels := []string{"code", "method", "route"}
	m := httpMetrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitlab_workhorse_http_in_flight_requests", Help: "Requests being served."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_http_requests_total", Help: "Requests served."}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitlab_workhorse_http_request_duration_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 8)}, labels),
	}
	reg.MustRegister(m.inFlight, m.requests, m.duration)
	return m
}

// observe adds GitLab's fields to the request's access line (wire/workhorse.md §1.5)
// and counts the request.
func (f *Front) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.inFlight.Inc()
		began := time.Now()
		rec := logging.NewRecorder(w)
		attrs := []slog.Attr{ // before anything is changed in the request
			slog.String("system", "http"),
			slog.String("host", r.Host),
			slog.String("uri", maskURI(r.RequestURI)),
			slog.String("proto", r.Proto),
			slog.String("referrer", maskURI(r.Referer())),
			slog.String("user_agent", r.UserAgent()),
		}
		defer func() {
			f.inFlight.Dec()
			route, backend := routeName(r)
			labels := []string{strconv.Itoa(rec.Status()), methodLabel(r.Method), route}
			f.requests.WithLabelValues(labels...).Inc()
			f.duration.WithLabelValues(labels...).Observe(time.Since(began).Seconds())
			attrs = append(attrs, slog.String("route_id", route), slog.String("backend_id", backend),
				slog.String("content_type", w.Header().Get("Content-Type")), slog.Int64("written_bytes", rec.Written()))
			if first := rec.First(); !first.IsZero() {
				attrs = append(attrs, slog.Float64("ttfb_ms", logging.Milliseconds(first.Sub(began))))
			}
			logging.AddAttrs(r.Context(), attrs...)
		}()
		next.ServeHTTP(rec, r)
	})
}

func methodLabel(method string) string {
	if methods[method] {
		return method
	}
	return "other"
}

// secretWords mark query parameters, and what stands before an "@", as not for the
// log (security-baseline.md T6).
var secretWords = []string{"token", "secret", "password", "passwd", "signature", "credential", "key", "auth", "code", "otp", "sig"}

// maskURI hides the values of parameters that may be secrets, and a password.
func maskURI(uri string) string {
	uri, fragment, _ := strings.Cut(uri, "#")
	base, query, _ := strings.Cut(uri, "?")
	if scheme, rest, ok := strings.Cut(base, "://"); ok {
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			base = scheme + "://[FILTERED]@" + rest[i+1:]
		}
	}
	if query == "" && fragment == "" {
		return base
	}
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || isSecret(plain) {
			pairs[i] = name + "=[FILTERED]"
		}
	}
	return base + "?" + strings.Join(pairs, "&")
}

func isSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
