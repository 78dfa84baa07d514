package app

import (
	"net/http"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// buildInfo says what runs (wire/gitlab-shell.md §12, as the rest of this file).
func buildInfo() prometheus.Collector {
	v, built := version()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gitlab_build_info", Help: "The running version; always 1.",
		ConstLabels: prometheus.Labels{"version": v, "built": built},
	})
	g.Set(1)
	return g
}

// apiMetrics measures each attempt of a call of the internal API.
func apiMetrics(reg prometheus.Registerer) func(http.RoundTripper) http.RoundTripper {
	labels := []string{"code", "method"}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gitlab_shell_http_requests_total", Help: "Requests to the internal API."}, labels)
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gitlab_shell_http_request_duration_seconds", Help: "Time of requests to the internal API.",
		Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 10, 30, 60, 300}}, labels)
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gitlab_shell_http_in_flight_requests", Help: "Requests to the internal API that wait for their answer."})
	reg.MustRegister(requests, duration, inFlight)
	return func(next http.RoundTripper) http.RoundTripper {
		next = promhttp.InstrumentRoundTripperDuration(duration, next)
		next = promhttp.InstrumentRoundTripperCounter(requests, next)
		return promhttp.InstrumentRoundTripperInFlight(inFlight, next)
	}
}

// clientMetrics measures calls of gitaly: grpc_client_*.
func clientMetrics(reg prometheus.Registerer) []grpc.DialOption {
	m := grpcprom.NewClientMetrics(grpcprom.WithClientHandlingTimeHistogram())
	reg.MustRegister(m)
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(m.StreamClientInterceptor())}
}

// relayCounter counts commands that were relayed to gitaly.
func relayCounter(reg prometheus.Registerer) func(ok bool) {
	relays := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gitlab_shell_gitaly_connections_total", Help: "Commands relayed to gitaly."}, []string{"status"})
	reg.MustRegister(relays)
	outcome := map[bool]prometheus.Counter{true: relays.WithLabelValues("ok"), false: relays.WithLabelValues("fail")}
	return func(ok bool) { outcome[ok].Inc() }
}
