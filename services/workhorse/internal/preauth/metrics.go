package preauth

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the questions (wire/workhorse.md §1.5).
type Metrics struct {
	requests *prometheus.CounterVec
	failures prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_internal_api_requests",
			Help: "Pre-authorization requests that rails-api answered.",
		}, []string{"code", "method"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitlab_workhorse_internal_api_failure_response_bytes",
			Help: "Bytes of refusals that were passed back to clients.",
		}),
	}
	reg.MustRegister(m.requests, m.failures)
	return m
}

func (m *Metrics) count(status int, method string) {
	m.requests.WithLabelValues(strconv.Itoa(status), method).Inc()
}

func (m *Metrics) refused(n int) { m.failures.Add(float64(n)) }
