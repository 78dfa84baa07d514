package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// journal are the metrics of internal/journal.
type journal struct {
	records                 *prometheus.CounterVec
	failures, writeFailures prometheus.Counter
	reg                     prometheus.Registerer
}

func newJournal(reg prometheus.Registerer) journal {
	j := journal{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_push_journal_records_total", Help: "Pushes that are done with: delivered, released (nothing had moved) or refused.",
		}, []string{"outcome"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitaly_push_journal_delivery_failures_total", Help: "Reports of pushes that failed and are sent again.",
		}),
		writeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitaly_push_journal_write_failures_total", Help: "Writes and syncs of the journal that failed.",
		}),
		reg: reg,
	}
	for _, outcome := range []string{"delivered", "released", "refused"} {
		j.records.WithLabelValues(outcome) // alerts need them from the start
	}
	reg.MustRegister(j.records, j.failures, j.writeFailures)
	return j
}

// JournalRecord counts a push that is done with.
func (j journal) JournalRecord(outcome string) { j.records.WithLabelValues(outcome).Inc() }

// JournalFailure counts a report that failed.
func (j journal) JournalFailure() { j.failures.Inc() }

// JournalWriteFailed counts a write or sync that failed.
func (j journal) JournalWriteFailed() { j.writeFailures.Inc() }

// WatchJournal shows what waits in a storage: how many pushes are done and not
// delivered, and when the oldest of them began, zero if there is none.
func (j journal) WatchJournal(storage string, state func() (undelivered int, oldest time.Time)) {
	gauge := func(name, help string, value func() float64) {
		j.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"storage": storage},
		}, value))
	}
	gauge("gitaly_push_journal_undelivered", "Pushes that are done and that the internal API does not know of yet.", func() float64 {
		n, _ := state()
		return float64(n)
	})
	gauge("gitaly_push_journal_oldest_undelivered_seconds", "Age of the oldest of these; 0 without any.", func() float64 {
		_, oldest := state()
		if oldest.IsZero() {
			return 0
		}
		return time.Since(oldest).Seconds()
	})
}
