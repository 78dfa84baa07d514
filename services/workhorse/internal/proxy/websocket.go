package proxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"gitsplit/services/workhorse/internal/framing"
)

// WebSocket passes requests to upgrade on to next, a Proxy, and their connections
// with it. The headers that ask for the upgrade, which the front has removed with
// all of the connection's, are set anew. Connections end when ending is closed, for
// no server drains what it has handed over.
func WebSocket(next http.Handler, ending <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		var watch sync.WaitGroup
		watch.Go(func() {
			select {
			case <-ending:
				cancel()
			case <-ctx.Done():
			}
		})
		defer watch.Wait()
		defer cancel()
		r = r.WithContext(ctx)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		next.ServeHTTP(hijacked{w, ctx}, r)
	})
}

// hijacked releases the connection it hands over from the guard of HTTP/1, and
// closes it when ctx ends.
type hijacked struct {
	http.ResponseWriter
	ctx context.Context // of the request
}

// Hijack hands the connection over.
func (w hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	framing.Release(c)
	context.AfterFunc(w.ctx, func() { _ = c.Close() }) // to end what reads it; closing twice is harmless
	return &halfConn{c}, buf, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (w hijacked) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lingering is a client's time to close its side after the backend has.
const lingering = 5 * time.Second

// halfConn is a connection whose end in one direction soon ends the other.
type halfConn struct{ net.Conn }

// CloseWrite tells the client that nothing more comes, where the connection can.
func (c *halfConn) CloseWrite() error {
	err := c.SetReadDeadline(time.Now().Add(lingering))
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		err = errors.Join(err, half.CloseWrite())
	}
	return err
}
