package front

import (
	"bufio"
	"log/slog"
	"net"
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
		ob := &observer{ResponseWriter: w}
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
			labels := []string{strconv.Itoa(ob.sent()), methodLabel(r.Method), route}
			f.requests.WithLabelValues(labels...).Inc()
			f.duration.WithLabelValues(labels...).Observe(time.Since(began).Seconds())
			attrs = append(attrs, slog.String("route_id", route), slog.String("backend_id", backend),
				slog.String("content_type", w.Header().Get("Content-Type")), slog.Int64("written_bytes", ob.written))
			if !ob.first.IsZero() {
				attrs = append(attrs, slog.Float64("ttfb_ms", logging.Milliseconds(ob.first.Sub(began))))
			}
			logging.AddAttrs(r.Context(), attrs...)
		}()
		next.ServeHTTP(ob, r)
	})
}

func methodLabel(method string) string {
	if methods[method] {
		return method
	}
	return "other"
}

// observer watches an answer.
type observer struct {
	http.ResponseWriter
	status  int
	first   time.Time // when its head went out
	written int64
}

func (o *observer) sent() int {
	if o.status == 0 {
		return http.StatusOK
	}
	return o.status
}

func (o *observer) WriteHeader(status int) {
	if o.status == 0 && status >= 200 {
		o.status, o.first = status, time.Now()
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status, o.first = http.StatusOK, time.Now()
	}
	n, err := o.ResponseWriter.Write(p)
	o.written += int64(n)
	return n, err
}

// Hijack hands the connection over: a web socket.
func (o *observer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil && o.status == 0 {
		o.status = http.StatusSwitchingProtocols
	}
	return c, buf, err
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

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
