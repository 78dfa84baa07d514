package backchannel

import (
	"net"

	"github.com/hashicorp/yamux"
)

// streamListener hands the gRPC streams of a session to a gRPC server.
type streamListener struct {
	session *yamux.Session
	conns   chan net.Conn
}

func newStreamListener(session *yamux.Session) *streamListener {
	return &streamListener{session: session, conns: make(chan net.Conn)}
}

func (l *streamListener) offer(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.session.CloseChan():
		_ = conn.Close()
	}
}

// Accept ends with net.ErrClosed once the session has ended.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.session.CloseChan():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the session owns its streams.
func (l *streamListener) Close() error { return nil }

// Addr is the address of the connection.
func (l *streamListener) Addr() net.Addr { return l.session.LocalAddr() }
