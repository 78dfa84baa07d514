package monitor

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/services/gitaly/internal/process"
)

// commands are the metrics of git processes and what they use.
type commands struct {
	running           *prometheus.GaugeVec
	spawning          prometheus.Histogram
	cpu, real         *prometheus.CounterVec
	minor, major      *prometheus.CounterVec
	signals, switches *prometheus.CounterVec
}

func newCommands(reg prometheus.Registerer) commands {
	labels := func(more ...string) []string {
		return append([]string{"grpc_service", "grpc_method", "cmd", "subcmd"}, more...)
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gitaly_command_" + name, Help: help}, labels(more...))
	}
	c := commands{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gitaly_commands_running", Help: "Child processes alive."}, labels()),
		spawning: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gitaly_spawn_forking_time_seconds", Help: "Time to start a child process.", Buckets: []float64{.001, .005, .01, .05, .1, .5, 1},
		}),
		cpu:      counter("cpu_seconds_total", "CPU time of child processes.", "mode"),
		real:     counter("real_seconds_total", "Life time of child processes."),
		minor:    counter("minor_page_faults_total", "Page faults of child processes without reading."),
		major:    counter("major_page_faults_total", "Page faults of child processes with reading."),
		signals:  counter("signals_received_total", "Signals that child processes got."),
		switches: counter("context_switches_total", "Context switches of child processes.", "ctxswitchtype"),
	}
	reg.MustRegister(c.running, c.spawning, c.cpu, c.real, c.minor, c.major, c.signals, c.switches)
	return c
}

// Started counts a child process until the returned function is called with what it
// has used.
func (c commands) Started(ctx context.Context, subcommand string, took time.Duration) func(process.Usage) {
	service, method := split(methodOf(ctx))
	labels := []string{service, method, "git", subcommand}
	c.spawning.Observe(took.Seconds())
	c.running.WithLabelValues(labels...).Inc()
	return func(u process.Usage) {
		c.running.WithLabelValues(labels...).Dec()
		add := func(to *prometheus.CounterVec, n float64, more ...string) {
			to.WithLabelValues(append(labels[:len(labels):len(labels)], more...)...).Add(n)
		}
		add(c.cpu, u.User.Seconds(), "user")
		add(c.cpu, u.System.Seconds(), "system")
		add(c.real, u.Real.Seconds())
		add(c.minor, float64(u.MinorFaults))
		add(c.major, float64(u.MajorFaults))
		add(c.signals, float64(u.Signals))
		add(c.switches, float64(u.Voluntary), "voluntary")
		add(c.switches, float64(u.Involuntary), "nonvoluntary")
	}
}
