package keywatch

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a Watcher (wire/workhorse.md §1.5).
type Metrics struct {
	watchers, subscriptions prometheus.Gauge
	messages, bytes         prometheus.Counter
	actions                 *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const prefix = "gitlab_workhorse_keywatcher_"
	m := &Metrics{
		watchers:      prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "keywatchers", Help: "Waits for a key to change."}),
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "redis_subscriptions", Help: "Channels subscribed to."}),
		messages:      prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "total_messages", Help: "Messages received."}),
		bytes:         prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "received_bytes_total", Help: "Bytes of messages received."}),
		actions:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "actions_total", Help: "What was done, by kind."}, []string{"action"}),
	}
	reg.MustRegister(m.watchers, m.subscriptions, m.messages, m.bytes, m.actions)
	return m
}

func (m *Metrics) action(name string) { m.actions.WithLabelValues(name).Inc() }
