package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// housekeeping are the metrics of internal/housekeeping.
type housekeeping struct {
	tasks   *prometheus.CounterVec
	latency *prometheus.HistogramVec
	runs    *prometheus.GaugeVec
	reg     prometheus.Registerer
}

func newHousekeeping(reg prometheus.Registerer) housekeeping {
	h := housekeeping{
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_housekeeping_tasks_total", Help: "Housekeeping tasks done.",
		}, []string{"housekeeping_task", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitaly_housekeeping_tasks_latency", Help: "Duration of the stages of housekeeping.",
			Buckets: []float64{.01, .1, 1, 10, 60, 300, 1800, 7200},
		}, []string{"stage"}),
		runs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitaly_housekeeping_runs", Help: "Repositories due for, waiting for or in housekeeping.",
		}, []string{"state"}),
	}
	h.reg = reg
	reg.MustRegister(h.tasks, h.latency, h.runs)
	return h
}

// HousekeepingTask counts a task that was done or has failed.
func (h housekeeping) HousekeepingTask(task string, err error) {
	status := "success"
	if err != nil {
		status = "failure"
	}
	h.tasks.WithLabelValues(task, status).Inc()
}

// HousekeepingStage measures a stage.
func (h housekeeping) HousekeepingStage(stage string, took time.Duration) {
	h.latency.WithLabelValues(stage).Observe(took.Seconds())
}

// HousekeepingRuns changes the number of runs that wait and that work.
func (h housekeeping) HousekeepingRuns(waiting, working int) {
	h.runs.WithLabelValues("waiting").Add(float64(waiting))
	h.runs.WithLabelValues("working").Add(float64(working))
}

// HousekeepingDue sets how many repositories are due for a run.
func (h housekeeping) HousekeepingDue(n int) {
	h.runs.WithLabelValues("due").Set(float64(n))
}

// WatchSuspects shows in how many repositories of a storage a sync has failed, until a
// check has found them well.
func (h housekeeping) WatchSuspects(storage string, count func() int) {
	h.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gitaly_repositories_to_check", Help: "Repositories in which a sync has failed and that no check has found well since.",
		ConstLabels: prometheus.Labels{"storage": storage},
	}, func() float64 { return float64(count()) }))
}
