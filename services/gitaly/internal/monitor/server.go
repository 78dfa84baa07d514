package monitor

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// server are the metrics of what happens before an RPC begins.
type server struct {
	connections    *prometheus.CounterVec
	authentication *prometheus.CounterVec
	authErrors     *prometheus.CounterVec
	build          *prometheus.GaugeVec
}

func newServer(reg prometheus.Registerer) server {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	s := server{
		connections:    counter("gitaly_connections_total", "Connections accepted.", "type"),
		authentication: counter("gitaly_authentications_total", "RPCs whose token was looked at.", "enforced", "status"),
		authErrors:     counter("gitaly_authentication_errors_total", "RPCs without a valid token.", "version", "error"),
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitlab_build_info", Help: "1, for the versions in the labels.",
		}, []string{"version", "git_version"}),
	}
	reg.MustRegister(s.connections, s.authentication, s.authErrors, s.build)
	return s
}

// Build says which versions run.
func (s server) Build(version, git string) { s.build.WithLabelValues(version, git).Set(1) }

// Connections counts what a listener accepts, by its kind: unix, tcp or tls.
func (s server) Connections(kind string, ln net.Listener) net.Listener {
	return countingListener{ln, s.connections.WithLabelValues(kind)}
}

type countingListener struct {
	net.Listener
	accepted prometheus.Counter
}

// Accept waits for a connection.
func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Inc()
	}
	return conn, err
}

// Authenticated returns what counts a good token. enforced says whether a bad one is
// refused.
func (s server) Authenticated(enforced bool) func(context.Context, string) {
	good := s.authentication.WithLabelValues(strconv.FormatBool(enforced), "ok")
	return func(context.Context, string) { good.Inc() }
}

// Denied returns what counts a bad token.
func (s server) Denied(enforced bool) func(context.Context, string, error) {
	return func(_ context.Context, _ string, err error) {
		outcome, version := "denied", "v2"
		if status.Code(err) == codes.Unauthenticated {
			outcome, version = "unauthenticated", "unknown"
		}
		s.authentication.WithLabelValues(strconv.FormatBool(enforced), outcome).Inc()
		s.authErrors.WithLabelValues(version, authError(err)).Inc()
	}
}

// authError is the fixed part of a denial's text.
func authError(err error) string {
	text := strings.TrimPrefix(status.Convert(err).Message(), "permission denied: ")
	text, _, _ = strings.Cut(text, ":")
	return text
}
