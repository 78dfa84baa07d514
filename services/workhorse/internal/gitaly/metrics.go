package gitaly

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// Metrics of the connections to gitaly (wire/workhorse.md §1.5). It is a gRPC stats
// handler.
type Metrics struct{ connections *prometheus.CounterVec }

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{connections: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gitlab_workhorse_gitaly_connections_total",
		Help: "Connections to gitaly: ok once made, fail when its address is no good.",
	}, []string{"status"})}
	reg.MustRegister(m.connections)
	return m
}

// Count returns servers, with addresses that cannot be connected to counted.
func (m *Metrics) Count(servers Servers) Servers { return counted{servers, m} }

type counted struct {
	Servers
	m *Metrics
}

// Conn opens a connection.
func (c counted) Conn(address, token string) (*grpc.ClientConn, error) {
	conn, err := c.Servers.Conn(address, token)
	if err != nil {
		c.m.connections.WithLabelValues("fail").Inc()
	}
	return conn, err
}

// HandleConn counts a connection that was made.
func (m *Metrics) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, made := s.(*stats.ConnBegin); made {
		m.connections.WithLabelValues("ok").Inc()
	}
}

// TagConn does nothing.
func (m *Metrics) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (m *Metrics) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (m *Metrics) HandleRPC(context.Context, stats.RPCStats) {}
