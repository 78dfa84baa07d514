package monitor

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// limitSystem is the label by which GitLab's dashboards find the limits of gitaly.
const limitSystem = "gitaly"

// limits are the metrics of what waits for a turn.
type limits struct {
	queued, running *prometheus.GaugeVec
	acquiring       *prometheus.HistogramVec
	dropped         *prometheus.CounterVec
	current         *prometheus.GaugeVec
	backoffs        *prometheus.CounterVec
}

func newLimits(reg prometheus.Registerer) limits {
	labels := []string{"system", "grpc_service", "grpc_method"}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	l := limits{
		queued:  gauge("gitaly_concurrency_limiting_queued", "RPCs that wait for their turn.", labels...),
		running: gauge("gitaly_concurrency_limiting_in_progress", "RPCs that have their turn.", labels...),
		acquiring: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitaly_concurrency_limiting_acquiring_seconds", Help: "Wait of RPCs for their turn.", Buckets: waitBuckets(),
		}, labels),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_requests_dropped_total", Help: "RPCs that got no turn.",
		}, append(labels, "reason", "authenticated")),
		current: gauge("gitaly_concurrency_limiting_current_limit", "Where an adaptive limit stands.", "limit"),
		backoffs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_concurrency_limiting_backoff_events_total", Help: "Signs of pressure that lowered the adaptive limits.",
		}, []string{"watcher"}),
	}
	reg.MustRegister(l.queued, l.running, l.acquiring, l.dropped, l.current, l.backoffs)
	return l
}

func waitBuckets() []float64 { return []float64{.001, .01, .1, 1, 5, 10, 30, 60, 300} }

// Queued counts RPCs that wait.
func (l limits) Queued(rpc string, n int) {
	l.queued.WithLabelValues(limitLabels(rpc)...).Add(float64(n))
}

// Running counts RPCs that have their turn.
func (l limits) Running(rpc string, n int) {
	l.running.WithLabelValues(limitLabels(rpc)...).Add(float64(n))
}

// Acquired measures a wait that ended well.
func (l limits) Acquired(rpc string, waited time.Duration) {
	l.acquiring.WithLabelValues(limitLabels(rpc)...).Observe(waited.Seconds())
}

// Dropped counts an RPC that got no turn.
func (l limits) Dropped(rpc, reason string, authenticated bool) {
	l.dropped.WithLabelValues(append(limitLabels(rpc), reason, strconv.FormatBool(authenticated))...).Inc()
}

// Limit says where an adaptive limit stands.
func (l limits) Limit(name string, n int) { l.current.WithLabelValues(name).Set(float64(n)) }

// Backoff counts a sign of pressure.
func (l limits) Backoff(watcher string) { l.backoffs.WithLabelValues(watcher).Inc() }

func limitLabels(rpc string) []string {
	service, method := split(rpc)
	return []string{limitSystem, service, method}
}

// PackLimits are the metrics of the limit of pack-objects.
type PackLimits struct {
	queued, running prometheus.Gauge
	acquiring       prometheus.Histogram
	dropped         *prometheus.CounterVec
}

func newPackLimits(reg prometheus.Registerer) PackLimits {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	p := PackLimits{
		queued:  gauge("gitaly_pack_objects_queued", "Packs that wait for their client's turn."),
		running: gauge("gitaly_pack_objects_in_progress", "Packs that are made."),
		acquiring: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gitaly_pack_objects_acquiring_seconds", Help: "Wait of packs for their client's turn.", Buckets: waitBuckets(),
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_pack_objects_dropped_total", Help: "Packs that got no turn.",
		}, []string{"auth", "reason"}),
	}
	reg.MustRegister(p.queued, p.running, p.acquiring, p.dropped)
	return p
}

// Queued counts packs that wait.
func (p PackLimits) Queued(_ string, n int) { p.queued.Add(float64(n)) }

// Running counts packs that are made.
func (p PackLimits) Running(_ string, n int) { p.running.Add(float64(n)) }

// Acquired measures a wait that ended well.
func (p PackLimits) Acquired(_ string, waited time.Duration) { p.acquiring.Observe(waited.Seconds()) }

// Dropped counts a pack that got no turn.
func (p PackLimits) Dropped(_, reason string, authenticated bool) {
	p.dropped.WithLabelValues(strconv.FormatBool(authenticated), reason).Inc()
}
