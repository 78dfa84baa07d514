// Package jobpoll holds back runners that ask for a job while there is none
// (wire/workhorse.md §7.1): a runner repeats what rails-api last told it about its
// queue, and as long as Redis has the same value, rails-api need not be asked.
package jobpoll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/services/workhorse/internal/keywatch"
)

// Watcher waits for a key in Redis to change; keywatch.Watcher is one.
type Watcher interface {
	Wait(ctx context.Context, key, value string, patience time.Duration) (keywatch.Outcome, error)
}

// maxBody is the size from which on a request is refused.
const maxBody = 32 << 10

const keyPrefix = "runner:build_queue:"

// request is what is read of a runner's request (wire/runner-api.md §5.1).
type request struct {
	Token      string `json:"token"`
	LastUpdate string `json:"last_update"`
}

type handler struct {
	*Metrics
	watcher  Watcher
	patience time.Duration
	next     http.Handler
}

// New returns the handler of jobs/request. Runners wait for at most the given time;
// whatever cannot be waited for goes to next: other requests, and all of them while
// Redis is down.
func New(w Watcher, patience time.Duration, m *Metrics, next http.Handler) http.Handler {
	return &handler{Metrics: m, watcher: w, patience: patience, next: next}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Gitlab-Ci-Builds-Polling", "yes")
	body, err := h.read(w, r)
	if err != nil {
		h.count("body-read-error")
		w.Header().Set("Connection", "close")
		status := http.StatusBadRequest
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	status := h.wait(r, body)
	h.count(status)
	switch status {
	case "seen-change", "no-change", "timeout":
		w.WriteHeader(http.StatusNoContent) // the runner comes again at once, and then is passed on
	default:
		defer h.in("proxying")()
		h.next.ServeHTTP(w, r)
	}
}

func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	defer h.in("reading")()
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// wait holds the request back, if it can be, and returns what came of it, in the
// words of the metric.
func (h *handler) wait(r *http.Request, body []byte) string {
	var job request
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" || json.Unmarshal(body, &job) != nil {
		return "body-parse-error"
	}
	if job.Token == "" || job.LastUpdate == "" {
		return "missing-values"
	}
	defer h.in("watching")()
	outcome, err := h.watcher.Wait(r.Context(), keyPrefix+job.Token, job.LastUpdate, h.patience)
	if err != nil {
		return "watch-error"
	}
	return map[keywatch.Outcome]string{
		keywatch.Changed: "already-changed", keywatch.Seen: "seen-change", keywatch.Same: "no-change", keywatch.TimedOut: "timeout",
	}[outcome]
}

// Metrics of jobs/request (wire/workhorse.md §1.5).
type Metrics struct {
	requests *prometheus.CounterVec
	open     *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitlab_workhorse_builds_register_handler_requests", Help: "Requests for jobs, by what became of them.",
		}, []string{"status"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitlab_workhorse_builds_register_handler_open", Help: "Requests for jobs under way, by where they are.",
		}, []string{"state"}),
	}
	reg.MustRegister(m.requests, m.open)
	return m
}

func (m *Metrics) count(status string) { m.requests.WithLabelValues(status).Inc() }

// in counts a request as being in a state until the function is called.
func (m *Metrics) in(state string) (leave func()) {
	g := m.open.WithLabelValues(state)
	g.Inc()
	return g.Dec
}
