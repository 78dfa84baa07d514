// Package monitor holds gitaly's metrics, under the names of wire/gitaly.md §18.
package monitor

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Metrics are the metrics of one server. It is safe for concurrent use.
type Metrics struct {
	server
	commands
	limits
	housekeeping
	journal
	// Packs are those of the limit of pack-objects.
	Packs PackLimits
	// PackCache are those of the cache before it.
	PackCache *PackCache
	// RefCache are those of the cache of references.
	RefCache *RefCache

	started          *prometheus.CounterVec
	handled          *prometheus.CounterVec
	handling         *prometheus.HistogramVec
	protocols        *prometheus.CounterVec
	api              *prometheus.HistogramVec
	catFiles         *prometheus.CounterVec
	catFileProcesses prometheus.Counter
}

// New registers the metrics. buckets are the bounds of the duration of RPCs, in seconds.
func New(reg prometheus.Registerer, buckets []float64) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		server: newServer(reg), commands: newCommands(reg), limits: newLimits(reg), housekeeping: newHousekeeping(reg), journal: newJournal(reg), Packs: newPackLimits(reg), PackCache: newPackCache(reg), RefCache: newRefCache(reg),
		started: counter("grpc_server_started_total", "RPCs started.", "grpc_type", "grpc_service", "grpc_method"),
		handled: counter("grpc_server_handled_total", "RPCs completed.", "grpc_type", "grpc_service", "grpc_method", "grpc_code"),
		handling: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_server_handling_seconds", Help: "Duration of RPCs.",
			Buckets: buckets,
		}, []string{"grpc_type", "grpc_service", "grpc_method"}),
		protocols: counter("gitaly_git_protocol_requests_total", "Transport RPCs by protocol version.",
			"grpc_service", "grpc_method", "git_protocol"),
		api: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitaly_gitlab_api_latency_seconds", Help: "Duration of calls of the internal API.",
		}, []string{"endpoint"}),
		catFiles: counter("gitaly_catfile_cache_total", "Questions for a kept git cat-file: hit or miss.", "type"),
		catFileProcesses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitaly_catfile_processes_total", Help: "git cat-file processes started.",
		}),
	}
	reg.MustRegister(m.started, m.handled, m.handling, m.protocols, m.api, m.catFiles, m.catFileProcesses,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// GitProtocol counts a transport RPC by its protocol version.
func (m *Metrics) GitProtocol(ctx context.Context, version string) {
	service, method := split(methodOf(ctx))
	m.protocols.WithLabelValues(service, method, version).Inc()
}

// APICall measures a call of the internal API.
func (m *Metrics) APICall(endpoint string, took time.Duration) {
	m.api.WithLabelValues(endpoint).Observe(took.Seconds())
}

// CatFileLookup counts whether a git cat-file was there from an earlier request.
func (m *Metrics) CatFileLookup(hit bool) {
	m.catFiles.WithLabelValues(hitOrMiss(hit)).Inc()
}

// CatFileStarted counts a new git cat-file.
func (m *Metrics) CatFileStarted() { m.catFileProcesses.Inc() }

func methodOf(ctx context.Context) string {
	name, _ := grpc.Method(ctx)
	return name
}

// split takes "/service/method" apart.
func split(full string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service, method
}

// Unary counts and measures unary RPCs.
func (m *Metrics) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	done := m.rpc("unary", info.FullMethod)
	resp, err := next(ctx, req)
	done(err)
	return resp, err
}

// Stream counts and measures streaming RPCs.
func (m *Metrics) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	done := m.rpc(streamType(info), info.FullMethod)
	err := next(srv, stream)
	done(err)
	return err
}

func streamType(info *grpc.StreamServerInfo) string {
	switch {
	case info.IsClientStream && info.IsServerStream:
		return "bidi_stream"
	case info.IsClientStream:
		return "client_stream"
	}
	return "server_stream"
}

func (m *Metrics) rpc(kind, full string) func(error) {
	service, method := split(full)
	m.started.WithLabelValues(kind, service, method).Inc()
	begin := time.Now()
	return func(err error) {
		m.handled.WithLabelValues(kind, service, method, status.Code(err).String()).Inc()
		m.handling.WithLabelValues(kind, service, method).Observe(time.Since(begin).Seconds())
	}
}
