// Package backchannel multiplexes gitaly's gRPC connections (wire/gitaly.md §4.1): after the transport (and TLS)
// handshake a client announces itself with eleven bytes, both sides start yamux on the connection, and gRPC runs on
// the first yamux stream. From then on the server can open streams towards the client; package sidechannel uses
// them. A connection that begins with anything else is plain gRPC.
//
// Both halves are gRPC transport credentials, because that is where gRPC hands over the raw connection:
//
//	grpc.Creds(backchannel.ServerCredentials(inner))
//	grpc.WithTransportCredentials(backchannel.TransportCredentials(inner, registry))
//
// inner is insecure.NewCredentials() or the result of NewTLS; its handshake comes first.
package backchannel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// magic is as long as the beginning of an HTTP/2 preface that can be told from it: "PRI * HTTP/".
	magic = "backchannel"

	// handshakeTimeout bounds what an accepted connection may take for TLS, the magic bytes, its first stream and
	// the HTTP/2 preface together. gRPC runs each handshake in a goroutine of its own, so a slow one holds up no one.
	handshakeTimeout = 10 * time.Second

	// greetingTimeout bounds the wait for the first bytes of a stream that the server opened.
	greetingTimeout = 5 * time.Second
)

// Settings of the table in §4.1.
const (
	clientBacklog      = 256
	clientWindow       = 256 << 10
	clientCloseTimeout = time.Second

	serverBacklog      = 1
	serverWindow       = 16 << 20
	serverCloseTimeout = 5 * time.Minute

	writeTimeout = 10 * time.Second
	openTimeout  = 75 * time.Second
)

func clientConfig() *yamux.Config {
	return muxConfig(clientBacklog, clientWindow, clientCloseTimeout)
}

func serverConfig() *yamux.Config {
	return muxConfig(serverBacklog, serverWindow, serverCloseTimeout)
}

// muxConfig turns keep-alive off: gRPC's own pings watch over the connection.
func muxConfig(backlog int, window uint32, closeTimeout time.Duration) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          backlog,
		EnableKeepAlive:        false,
		KeepAliveInterval:      time.Minute, // unused, but must be positive
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    window,
		StreamOpenTimeout:      openTimeout,
		StreamCloseTimeout:     closeTimeout,
		LogOutput:              io.Discard, // its faults reach us as errors of the streams
	}
}

// sessionConn is the stream that gRPC uses. The session, and with it the socket, lives as long as it does.
type sessionConn struct {
	net.Conn
	session *yamux.Session
	once    sync.Once
	err     error
}

func (c *sessionConn) Close() error {
	c.once.Do(func() { c.err = c.session.Close() })
	return c.err
}

// prefixConn gives back bytes that were read to see what a connection is.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

var errNoServerNameOverride = errors.New("backchannel: the server name is set with the inner credentials")
