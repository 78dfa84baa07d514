// Package queueing bounds how many requests are served at once: more wait in a
// bounded queue, for a bounded time (wire/workhorse.md §7.2).
package queueing

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/services/workhorse/internal/failure"
)

// Limits of a queue.
type Limits struct {
	Running int           // requests served at once; 0 is no queue at all
	Waiting int           // requests that may wait beyond those
	Time    time.Duration // for which they may
}

// retryAfter is when a refused client may come again, in seconds.
const retryAfter = "3"

// New returns a handler that lets requests through to next within the limits.
// Refusals: 429 when the queue is full, 503 after waiting too long. The name is a
// label of the metrics in reg.
func New(name string, l Limits, reg prometheus.Registerer, next http.Handler) http.Handler {
	if l.Running <= 0 {
		return next
	}
	return &queue{Limits: l, metrics: newMetrics(name, l, reg), next: next,
		running: make(chan struct{}, l.Running), waiting: make(chan struct{}, l.Waiting)}
}

type queue struct {
	Limits
	*metrics
	next    http.Handler
	running chan struct{} // holds one for each request that runs
	waiting chan struct{} // … that waits
}

var (
	errFull = errors.New("the queue is full")
	errLate = errors.New("waited too long")
)

func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch err := q.enter(r.Context()); {
	case errors.Is(err, errFull):
		q.errors.WithLabelValues("too_many_requests").Inc()
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "Too Many Requests", http.StatusTooManyRequests)
		return
	case errors.Is(err, errLate):
		q.errors.WithLabelValues("queueing_timedout").Inc()
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	case err != nil: // the client left; the status is for the log
		w.WriteHeader(failure.ClientLeft)
		return
	}
	defer q.leave()
	q.next.ServeHTTP(w, r)
}

// enter waits for a place. After nil, leave must be called.
func (q *queue) enter(ctx context.Context) error {
	select {
	case q.running <- struct{}{}:
		q.busy.Inc()
		return nil
	default:
	}
	select {
	case q.waiting <- struct{}{}:
	default:
		return errFull
	}
	q.queued.Inc()
	began := time.Now()
	defer func() {
		<-q.waiting
		q.queued.Dec()
		q.waited.Observe(time.Since(began).Seconds())
	}()
	timer := time.NewTimer(q.Time)
	defer timer.Stop()
	select {
	case q.running <- struct{}{}:
		q.busy.Inc()
		return nil
	case <-timer.C:
		return errLate
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) leave() {
	<-q.running
	q.busy.Dec()
}
