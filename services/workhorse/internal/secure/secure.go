// Package secure puts TLS in front of an HTTP server: handshakes under a time
// limit, HTTP/2 where the client wants it, and HTTP/1 guarded against ambiguous
// requests as on a plain listener.
//
// net/http does its handshakes itself, but only on a bare *tls.Conn, which leaves
// no place for a guard. So the handshake happens here. What then speaks HTTP/2 goes
// to net/http as it is, since framing is unambiguous there; the rest is wrapped.
package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/framing"
)

// Protocols are what our listeners speak, best first, for tls.Config.NextProtos.
func Protocols() []string { return []string{h2, "http/1.1"} }

const h2 = "h2"

// Options of a listener.
type Options struct {
	Config *tls.Config
	// Timeout bounds a handshake.
	Timeout time.Duration
	Log     *slog.Logger
}

// Listen returns a listener of connections whose handshake is done. Those that
// speak HTTP/1 are guarded by framing. It owns ln.
func Listen(ln net.Listener, o Options) net.Listener {
	ctx, cancel := context.WithCancel(context.Background()) // until Close
	l := &listener{Listener: ln, o: o, ctx: ctx, cancel: cancel, ready: make(chan net.Conn)}
	l.wg.Go(l.acceptAll)
	return l
}

type listener struct {
	net.Listener
	o      Options
	ctx    context.Context // of all handshakes; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ready  chan net.Conn
}

// Accept returns the next connection whose handshake is done.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// lastHandshakes is how long the handshakes under way may take when the listener closes.
const lastHandshakes = time.Second

// Close lets the handshakes under way end soon; Accept goes on until then.
func (l *listener) Close() error {
	err := l.Listener.Close()
	end := time.AfterFunc(lastHandshakes, l.cancel)
	l.wg.Wait()
	end.Stop()
	l.cancel()
	return err
}

// acceptAll starts a handshake for every connection, as net/http serves every
// connection: their number is bounded by the files that the process may open.
func (l *listener) acceptAll() {
	var pause time.Duration
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			pause = 0
			l.wg.Go(func() { l.admit(c) })
		case l.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // such as no file descriptors left
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.o.Log.WarnContext(l.ctx, "connection not accepted", slog.Any(logging.KeyError, err))
			select {
			case <-time.After(pause):
			case <-l.ctx.Done():
			}
		}
	}
}

// admit does the handshake and hands the connection over.
func (l *listener) admit(plain net.Conn) {
	c, err := l.handshake(plain)
	if err != nil {
		l.o.Log.DebugContext(l.ctx, "TLS handshake failed",
			slog.String(logging.KeyRemoteAddr, plain.RemoteAddr().String()), slog.Any(logging.KeyError, err))
		_ = plain.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

func (l *listener) handshake(plain net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
	defer cancel()
	c := tls.Server(plain, l.o.Config)
	if err := c.HandshakeContext(ctx); err != nil {
		answerPlain(err)
		return nil, err
	}
	switch protocol := c.ConnectionState().NegotiatedProtocol; {
	case protocol == h2:
		return c, nil
	case protocol == "" || slices.Contains(Protocols(), protocol):
		return &conn{Conn: framing.Guard(c), tls: c}, nil
	default: // the challenge of an authority (RFC 8737): the handshake was all of it
		return nil, errors.Join(errors.New("handshake for "+protocol), c.Close())
	}
}

// answerPlain tells a client that speaks plain HTTP what is wrong.
func answerPlain(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		if header.Conn.SetWriteDeadline(time.Now().Add(time.Second)) != nil {
			return // gone
		}
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"+
			"This port speaks HTTPS only.\n")
	}
}

// conn is HTTP/1 over TLS. net/http asks it for the state of TLS.
type conn struct {
	*framing.Conn
	tls *tls.Conn
}

// ConnectionState tells net/http what was negotiated, for http.Request.TLS.
func (c *conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
