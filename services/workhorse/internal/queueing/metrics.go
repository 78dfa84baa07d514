package queueing

import "github.com/prometheus/client_golang/prometheus"

// metrics of a queue (wire/workhorse.md §1.5).
type metrics struct {
	busy, queued prometheus.Gauge
	waited       prometheus.Histogram
	errors       *prometheus.CounterVec
}

func newMetrics(name string, l Limits, reg prometheus.Registerer) *metrics {
	labels := prometheus.Labels{"queue_name": name}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gitlab_workhorse_queueing_" + name, Help: help, ConstLabels: labels})
		reg.MustRegister(g)
		return g
	}
	gauge("limit", "Requests that may run at once.").Set(float64(l.Running))
	gauge("queue_limit", "Requests that may wait.").Set(float64(l.Waiting))
	gauge("queue_timeout", "Seconds that a request may wait.").Set(l.Time.Seconds())
	m := &metrics{
		busy:   gauge("busy", "Requests that run."),
		queued: gauge("waiting", "Requests that wait."),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gitlab_workhorse_queueing_waiting_time", Help: "Seconds that requests have waited.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 8),
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_queueing_errors", Help: "Requests refused.", ConstLabels: labels,
		}, []string{"type"}),
	}
	reg.MustRegister(m.waited, m.errors)
	return m
}
