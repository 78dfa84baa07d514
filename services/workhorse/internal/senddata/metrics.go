package senddata

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of delegated answers (wire/workhorse.md §1.5).
type Metrics struct {
	files   *prometheus.CounterVec
	answers *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	cache   *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_sendfile_requests",
			Help: "Files sent for rails-api, by what they are.",
		}, []string{"type"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_senddata_responses",
			Help: "Answers given in rails-api's place.",
		}, []string{"injecter"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_senddata_response_bytes",
			Help: "Bytes of answers given in rails-api's place.",
		}, []string{"injecter"}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_git_archive_cache",
			Help: "Archives sent, by what the cache had to do with it.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.files, m.answers, m.bytes, m.cache)
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

// sent counts an answer. The name is one of the kinds.
func (m *Metrics) sent(name string, bytes int64) {
	m.answers.WithLabelValues(name).Inc()
	m.bytes.WithLabelValues(name).Add(float64(bytes))
}

// archive counts an archive: hit, miss or disabled.
func (m *Metrics) archive(result string) { m.cache.WithLabelValues(result).Inc() }
