package senddata

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of delegated answers (wire/workhorse.md §1.5).
type Metrics struct {
	files *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_sendfile_requests",
			Help: "Files sent for rails-api, by what they are.",
		}, []string{"type"}),
	}
	reg.MustRegister(m.files)
	return m
}

func (m *Metrics) sentFile(path string) {
	kind := "other"
	switch {
	case strings.Contains(path, "/artifacts"):
		kind = "artifacts"
	case strings.Contains(path, "/gitlab-lfs/objects/"):
		kind = "lfs"
	}
	m.files.WithLabelValues(kind).Inc()
}
