package proxy

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"

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
		next.ServeHTTP(hijacked{w}, r)
	})
}

// hijacked releases the connection it hands over from the guard of HTTP/1.
type hijacked struct{ http.ResponseWriter }

// Hijack hands the connection over.
func (w hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		framing.Release(c)
	}
	return c, buf, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w hijacked) Unwrap() http.ResponseWriter { return w.ResponseWriter }
