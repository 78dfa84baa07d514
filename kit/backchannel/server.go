package backchannel

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc/credentials"
)

// Info is the AuthInfo of a multiplexed connection at the server: that of the inner handshake, and the session.
// It implements sidechannel.StreamOpener.
type Info struct {
	credentials.AuthInfo
	session *yamux.Session
	// turn lets one OpenStream at a time wait for the client's acknowledgement: yamux cannot be told to give up, so
	// without it each caller that does would leave a goroutine behind.
	turn chan struct{}
}

func newInfo(inner credentials.AuthInfo, session *yamux.Session) *Info {
	return &Info{AuthInfo: inner, session: session, turn: make(chan struct{}, 1)}
}

// GetCommonAuthInfo passes on the security level of the inner handshake, which gRPC asks for.
func (i *Info) GetCommonAuthInfo() credentials.CommonAuthInfo {
	if c, ok := i.AuthInfo.(interface {
		GetCommonAuthInfo() credentials.CommonAuthInfo
	}); ok {
		return c.GetCommonAuthInfo()
	}
	return credentials.CommonAuthInfo{}
}

// OpenStream opens a stream towards the client.
func (i *Info) OpenStream(ctx context.Context) (net.Conn, error) {
	select {
	case i.turn <- struct{}{}:
	case <-i.session.CloseChan():
		return nil, yamux.ErrSessionShutdown
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	type opened struct {
		stream net.Conn
		err    error
	}
	result := make(chan opened)
	go func() {
		defer func() { <-i.turn }()
		stream, err := i.session.Open()
		select {
		case result <- opened{stream, err}:
		case <-ctx.Done():
			if err == nil {
				_ = stream.Close()
			}
		}
	}()
	select {
	case r := <-result:
		return r.stream, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type serverCreds struct {
	inner credentials.TransportCredentials
}

// ServerCredentials accepts both multiplexing and plain gRPC clients on one listener. RPCs of the former have an
// *Info in their peer's AuthInfo. Only the first stream of the client is served; clients that never accept a stream
// of ours lose nothing but the RPCs that need one.
func ServerCredentials(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return serverCreds{inner: inner}
}

// ServerHandshake leaves its deadline on raw: gRPC reads the HTTP/2 preface under it and removes it afterwards.
func (c serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	deadline := time.Now().Add(handshakeTimeout)
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, nil, err
	}
	conn, info, err := c.inner.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	var first [len(magic)]byte
	if n, err := io.ReadFull(conn, first[:]); err != nil {
		_ = conn.Close()
		if n == 0 {
			return nil, nil, io.EOF // a probe of the port: not worth a log line
		}
		return nil, nil, err
	}
	if string(first[:]) != magic {
		return &prefixConn{Conn: conn, prefix: first[:]}, info, nil
	}
	return accept(conn, info, deadline)
}

func accept(conn net.Conn, info credentials.AuthInfo, deadline time.Time) (net.Conn, credentials.AuthInfo, error) {
	session, err := yamux.Server(&joined{Conn: conn}, serverConfig())
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	stream, err := session.AcceptStreamWithContext(ctx)
	if err != nil {
		_ = session.Close()
		return nil, nil, err
	}
	return &sessionConn{Conn: stream, session: session}, newInfo(info, session), nil
}

func (c serverCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.inner.ClientHandshake(ctx, authority, raw)
}

func (c serverCreds) Info() credentials.ProtocolInfo { return c.inner.Info() }

func (c serverCreds) Clone() credentials.TransportCredentials {
	return serverCreds{inner: c.inner.Clone()}
}

// OverrideServerName is not supported: gRPC has deprecated it.
func (serverCreds) OverrideServerName(string) error { return errNoServerNameOverride }
