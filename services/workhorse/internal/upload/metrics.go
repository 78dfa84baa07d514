package upload

import "github.com/prometheus/client_golang/prometheus"

// The kinds of uploads, as the metrics call them.
const (
	bodyType      = "body"
	multipartType = "multipart"
)

// Metrics of uploads (wire/workhorse.md §1.5).
type Metrics struct{ requests, files, bytes *prometheus.CounterVec }

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	count := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gitlab_workhorse_multipart_upload_" + name, Help: help}, []string{"type"})
	}
	m := &Metrics{
		requests: count("requests", "Permitted requests with uploads."),
		files:    count("files", "Files that were stored."),
		bytes:    count("bytes", "Bytes of the files that were stored."),
	}
	reg.MustRegister(m.requests, m.files, m.bytes)
	return m
}

func (m *Metrics) request(kind string) { m.requests.WithLabelValues(kind).Inc() }

func (m *Metrics) stored(kind string, size int64) {
	m.files.WithLabelValues(kind).Inc()
	m.bytes.WithLabelValues(kind).Add(float64(size))
}
