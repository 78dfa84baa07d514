package backchannel

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"gitsplit/kit/sidechannel"
)

type clientCreds struct {
	inner credentials.TransportCredentials
	reg   *sidechannel.Registry
}

// TransportCredentials makes each connection of a gRPC client a multiplexed one. Sidechannels that the server opens
// run the callbacks of reg. Any other stream it opens is a gRPC connection to us (an older gitaly opens one at once)
// and meets a server without services. Closing the gRPC connection ends all of it.
func TransportCredentials(inner credentials.TransportCredentials, reg *sidechannel.Registry) credentials.TransportCredentials {
	return clientCreds{inner: inner, reg: reg}
}

// ClientHandshake is bounded by gRPC, which closes raw when ctx ends.
func (c clientCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.inner.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(conn, magic); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	session, err := yamux.Client(&joined{Conn: conn}, clientConfig())
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	stream, err := session.Open()
	if err != nil {
		_ = session.Close()
		return nil, nil, err
	}
	go serveStreams(session, c.reg)
	return &sessionConn{Conn: stream, session: session}, info, nil
}

func (c clientCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.inner.ServerHandshake(raw)
}

func (c clientCreds) Info() credentials.ProtocolInfo { return c.inner.Info() }

func (c clientCreds) Clone() credentials.TransportCredentials {
	return clientCreds{inner: c.inner.Clone(), reg: c.reg}
}

// OverrideServerName is not supported: gRPC has deprecated it.
func (clientCreds) OverrideServerName(string) error { return errNoServerNameOverride }

// serveStreams accepts what the server opens until the session ends.
func serveStreams(session *yamux.Session, reg *sidechannel.Registry) {
	plain := newStreamListener(session)
	server := grpc.NewServer()
	go server.Serve(plain) //nolint:errcheck // ends with the session
	defer server.Stop()
	for {
		stream, err := session.Accept()
		if err != nil {
			return
		}
		go classify(stream, reg, plain)
	}
}

// classify tells a sidechannel from a gRPC connection by its first bytes.
func classify(stream net.Conn, reg *sidechannel.Registry, plain *streamListener) {
	if err := stream.SetReadDeadline(time.Now().Add(greetingTimeout)); err != nil {
		_ = stream.Close()
		return
	}
	var first [len(sidechannel.Magic)]byte
	if _, err := io.ReadFull(stream, first[:]); err != nil {
		_ = stream.Close()
		return
	}
	if string(first[:]) == sidechannel.Magic {
		_ = reg.Serve(stream) // what failed shows at the RPC
		return
	}
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		_ = stream.Close()
		return
	}
	plain.offer(&prefixConn{Conn: stream, prefix: first[:]})
}
