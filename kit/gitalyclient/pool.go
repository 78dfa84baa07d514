// Package gitalyclient is how shell, workhorse, rails-api and the hooks talk to gitaly: connections with the
// parameters of wire/gitaly.md §1.2, and relays that move git's bytes between a caller's streams and the git
// transport RPCs of §5. For everything else use the generated clients on the pool's connections.
package gitalyclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/sidechannel"
)

const keepaliveInterval = 20 * time.Second

// Options configures a pool.
type Options struct {
	// ClientName is sent with each call, as in "gitlab-workhorse". A call's own metadata may override it.
	ClientName string
	// Log hears of new connections; nil for silence.
	Log *slog.Logger
	// Dial holds further options for each connection, for metrics and tests.
	Dial []grpc.DialOption
}

type key struct{ address, token, retry string }

// Pool keeps one connection for each gitaly address, token and retry policy. Safe for concurrent use.
type Pool struct {
	o       Options
	patient patient

	mu     sync.Mutex
	conns  map[key]*grpc.ClientConn
	closed bool
}

// NewPool returns an empty pool. Close it.
func NewPool(o Options) *Pool {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{o: o, patient: newPatient(), conns: make(map[key]*grpc.ClientConn)}
}

// Conn returns the connection for an address, made on first use; it connects with the first call on it and again
// when lost. With an empty token calls are not authenticated. The pool owns the connection: do not close it.
// Errors: `no gitaly_address given`, `invalid connection string: "<raw>"`, or that the pool is closed.
func (p *Pool) Conn(address, token string) (*grpc.ClientConn, error) {
	return p.ConnRetrying(address, token, nil)
}

// ConnRetrying is Conn with a retry policy in gRPC's JSON, as the internal API may give one, in place of the default.
// No policy is the default. One that gRPC does not accept is an error.
func (p *Pool) ConnRetrying(address, token string, policy json.RawMessage) (*grpc.ClientConn, error) {
	if address == "" {
		return nil, errors.New("no gitaly_address given")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("gitaly connections are closed")
	}
	k := key{address, token, defaultRetry}
	if text := string(policy); text != "" && text != "null" {
		k.retry = text
	}
	if conn := p.conns[k]; conn != nil {
		return conn, nil
	}
	conn, err := p.dial(k)
	if err != nil {
		return nil, err
	}
	p.conns[k] = conn
	p.o.Log.Debug("gitaly connection added", slog.String("address", address))
	return conn, nil
}

func (p *Pool) dial(k key) (*grpc.ClientConn, error) {
	t, err := parseAddress(k.address)
	if err != nil {
		return nil, err
	}
	config, err := serviceConfig(k.retry)
	if err != nil {
		return nil, err
	}
	reg := sidechannel.NewRegistry()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(backchannel.TransportCredentials(t.credentials(), reg)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, PermitWithoutStream: true}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(config),
		grpc.WithConnectParams(reconnect()),
		// The sidechannel goes last: it adds its id to the metadata of the others.
		grpc.WithChainUnaryInterceptor(grpcx.UnaryClientInterceptor(p.o.ClientName), p.patient.unary, sidechannel.UnaryInterceptor(reg)),
		grpc.WithChainStreamInterceptor(grpcx.StreamClientInterceptor(p.o.ClientName), p.patient.stream),
	}
	if k.token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(gitalyauth.Credentials(k.token)))
	}
	if t.unix {
		opts = append(opts, grpc.WithNoProxy())
	}
	conn, err := grpc.NewClient(t.uri, append(opts, p.o.Dial...)...)
	if err != nil {
		return nil, fmt.Errorf("dial gitaly %q: %w", k.address, err)
	}
	return conn, nil
}

// Close ends all connections and the calls on them.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var err error
	for k, conn := range p.conns {
		err = errors.Join(err, conn.Close())
		delete(p.conns, k)
	}
	return err
}
