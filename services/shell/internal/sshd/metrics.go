package sshd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the server's counters, under the names of wire/gitlab-shell.md §12.
type Metrics struct {
	connections prometheus.Gauge
	refused     prometheus.Counter
	dropped     prometheus.Counter
	limited     prometheus.Counter
	logins      prometheus.Counter
	loginErrors prometheus.Counter
	sessions    prometheus.Counter
	sessionErrs prometheus.Counter
	duration    prometheus.Histogram
	established prometheus.Histogram
	phases      *prometheus.HistogramVec
}

// NewMetrics returns metrics registered with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitlab_shell_sshd_in_flight_connections", Help: "Open SSH connections."}),
		refused: counter("gitlab_shell_sshd_refused_connections_total",
			"Connections dropped because too many were open, in total or from one address."),
		dropped: counter("gitlab_shell_sshd_dropped_startups_total",
			"Connections dropped early because too many had not logged in."),
		limited: counter("gitlab_shell_sshd_concurrent_limited_sessions_total",
			"Sessions refused because their connection had too many open."),
		logins:      counter("gitlab_sli:shell_sshd_connections:total", "Connections that tried to log in."),
		loginErrors: counter("gitlab_sli:shell_sshd_connections:errors_total", "Logins that failed because of us."),
		sessions:    counter("gitlab_sli:shell_sshd_sessions:total", "Sessions that ran a command."),
		sessionErrs: counter("gitlab_sli:shell_sshd_sessions:errors_total", "Sessions that failed because of us."),
		duration: histogram("gitlab_shell_sshd_session_duration_seconds",
			"Time from the opening of a session to its end.", 5, 30, 60),
		established: histogram("gitlab_shell_sshd_session_established_duration_seconds",
			"Time from the opening of a session to its command.", 0.5, 1, 5),
	}
	m.phases = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gitlab_shell_sshd_phase_duration_seconds",
		Help:    "Where the time of connections and sessions goes: handshake, key, access, git, finish.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"phase"})
	reg.MustRegister(m.phases, m.connections, m.refused, m.dropped, m.limited, m.logins, m.loginErrors, m.sessions, m.sessionErrs,
		m.duration, m.established)
	return m
}

// Phase notes how long a phase took.
func (m *Metrics) Phase(name string, took time.Duration) {
	m.phases.WithLabelValues(name).Observe(took.Seconds())
}

func (m *Metrics) session(total, established time.Duration, err error) {
	m.sessions.Inc()
	if err != nil {
		m.sessionErrs.Inc()
	}
	m.duration.Observe(total.Seconds())
	m.established.Observe(established.Seconds())
}
