package githttp

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/preauth"
)

// Metrics of Git requests (wire/workhorse.md §1.5).
type Metrics struct {
	active   prometheus.Gauge
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	labels := []string{"method", "code", "service", "agent"}
	m := &Metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitlab_workhorse_git_http_sessions_active",
			Help: "Git requests being served.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_git_http_requests",
			Help: "Git requests served.",
		}, labels),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_git_http_bytes",
			Help: "Bytes of Git requests, by direction.",
		}, append(labels, "direction")),
	}
	reg.MustRegister(m.active, m.requests, m.bytes)
	return m
}

// session counts one Git request: the writer it returns must be used, and done
// called at the end.
func (m *Metrics) session(w http.ResponseWriter, r *http.Request, service string) (_ *logging.Recorder, done func()) {
	m.active.Inc()
	in := &countedBody{ReadCloser: r.Body}
	r.Body = in
	out := logging.NewRecorder(w)
	return out, func() {
		m.active.Dec()
		labels := []string{r.Method, strconv.Itoa(out.Status()), service, agent(r)}
		m.requests.WithLabelValues(labels...).Inc()
		m.bytes.WithLabelValues(append(labels, "in")...).Add(float64(in.n.Load()))
		m.bytes.WithLabelValues(append(labels, "out")...).Add(float64(out.Written()))
	}
}

// traffic is session for a pack request: at the end it also logs what went out, so
// that traffic can be summed up by project (wire/workhorse.md §1.5). The service is
// logged as git_service, for "service" is workhorse itself.
func (s *Service) traffic(w http.ResponseWriter, r *http.Request, service string, a *preauth.Answer) (_ http.ResponseWriter, done func(context.Context)) {
	counted, end := s.Metrics.session(w, r, service)
	return counted, func(ctx context.Context) {
		end()
		s.Log.InfoContext(ctx, "git_traffic", slog.String("git_service", service), slog.Int64("written_bytes", counted.Written()),
			slog.Int64("project_id", a.ProjectID), slog.Int64("root_namespace_id", a.RootNamespaceID))
	}
}

// agent sorts requests by who makes them.
func agent(r *http.Request) string {
	user, _, ok := r.BasicAuth()
	switch {
	case !ok && r.Header.Get("Authorization") == "":
		return "anonymous"
	case strings.EqualFold(user, "gitlab-ci-token"):
		return "gitlab-ci"
	}
	return "logged"
}

type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
