// Package probe answers for a process's health on a listener of its own: liveness
// (the process runs), readiness (its dependencies answer; checked in the
// background, so that a probe costs nothing), Prometheus metrics and Go profiles.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	fastInterval = 50 * time.Millisecond
	interval     = 2 * time.Second
	timeout      = time.Second
)

// Set is the health of one process. It is safe for concurrent use once Run has
// started; Add and AddOptional come before.
type Set struct {
	reg    *prometheus.Registry
	checks []check

	mu      sync.Mutex
	results map[string]error
	checked bool
	stopped bool
}

type check struct {
	name     string
	optional bool
	run      func(context.Context) error
}

// ErrStarting and ErrStopping are what Ready returns before the first round of
// checks and after Stop.
var (
	ErrStarting = errors.New("starting")
	ErrStopping = errors.New("stopping")
)

// New returns a set whose metrics come from reg.
func New(reg *prometheus.Registry) *Set {
	return &Set{reg: reg, results: map[string]error{}}
}

// Add makes readiness depend on run, which must return within its context.
func (s *Set) Add(name string, run func(context.Context) error) {
	s.checks = append(s.checks, check{name: name, run: run})
}

// AddOptional reports run without making readiness depend on it: a dependency
// the process can work without.
func (s *Set) AddOptional(name string, run func(context.Context) error) {
	s.checks = append(s.checks, check{name: name, optional: true, run: run})
}

// Run repeats the checks until ctx ends: quickly until all is well for the first
// time, since a start must not wait for a regular round, then every 2 s. Half a minute
// after the process has come to rest, its unused memory goes back to the system.
func (s *Set) Run(ctx context.Context) {
	pace, memory := fastInterval, newReleaser()
	for {
		s.round(ctx)
		if s.Ready() == nil {
			pace = interval
			memory.round()
		}
		timer := time.NewTimer(pace)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (s *Set) round(ctx context.Context) {
	results := make([]error, len(s.checks))
	var wg sync.WaitGroup
	for i, c := range s.checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			results[i] = c.run(ctx)
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.checks {
		s.results[c.name] = results[i]
	}
	s.checked = true
}

// Stop makes the process not ready from now on.
func (s *Set) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// Ready returns nil if the process can serve, else why it cannot.
func (s *Set) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return ErrStopping
	case !s.checked:
		return ErrStarting
	}
	var faults []error
	for _, c := range s.checks {
		if err := s.results[c.name]; err != nil && !c.optional {
			faults = append(faults, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(faults...)
}

// Handler serves /metrics, /-/liveness, /-/readiness and /debug/pprof. It is for a
// private listener: readiness names what failed.
func (s *Set) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{Registry: s.reg}))
	mux.HandleFunc("GET /-/liveness", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, report{Status: "ok"})
	})
	mux.HandleFunc("GET /-/readiness", s.ServeReadiness)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/block", blocking)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// blockRate makes one sample per 10 µs that goroutines have waited.
const blockRate = 10_000

// blocking profiles where goroutines wait, for as long as `seconds` says: to watch it
// costs, so nothing does while nobody asks.
func blocking(w http.ResponseWriter, r *http.Request) {
	runtime.SetBlockProfileRate(blockRate)
	defer runtime.SetBlockProfileRate(0)
	pprof.Handler("block").ServeHTTP(w, r)
}

// report is the body of a probe's answer.
type report struct {
	Status string            `json:"status"` // "ok" or "failed"
	Reason string            `json:"reason,omitempty"`
	Checks map[string]string `json:"checks,omitempty"`
}

// ServeReadiness answers 200 when ready, else 503, with each check's outcome.
func (s *Set) ServeReadiness(w http.ResponseWriter, _ *http.Request) {
	rep, status := report{Status: "ok", Checks: s.outcomes()}, http.StatusOK
	if err := s.Ready(); err != nil {
		rep.Status, rep.Reason, status = "failed", err.Error(), http.StatusServiceUnavailable
	}
	writeJSON(w, status, rep)
}

func (s *Set) outcomes() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]string{}
	for name, err := range s.results {
		m[name] = "ok"
		if err != nil {
			m[name] = err.Error()
		}
	}
	return m
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the prober went away
}
