package sshd

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/correlation"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
)

// connection is one SSH connection. It is the net.Conn that the library reads, so
// that it can count bytes and be cut at any time.
type connection struct {
	net.Conn
	srv     *Server
	ctx     context.Context // ends with the connection; carries its correlation id
	cancel  context.CancelFunc
	started time.Time
	login   login
	grace   *time.Timer // cuts the connection unless the login stops it
	begun   func()      // the login is over, one way or the other

	isUser   atomic.Bool  // the login is over
	received atomic.Int64 // bytes read, to see that the client is alive
	pending  atomic.Int32 // channel requests being answered

	mu       sync.Mutex
	closing  bool
	sessions int
	used     bool           // there has been a session
	owned    sync.WaitGroup // sessions and keep-alive
}

func newConnection(base context.Context, s *Server, nc net.Conn, begun func()) *connection {
	ctx := correlation.With(base, correlation.NewID())
	if s.opts.Proxy != nil {
		ctx = internalapi.WithForwardedFor(ctx, peer(nc))
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &connection{Conn: nc, srv: s, ctx: ctx, cancel: cancel, started: time.Now(), begun: begun}
	if s.opts.LoginGrace > 0 {
		// A deadline on the socket would be overwritten by the library.
		c.grace = time.AfterFunc(s.opts.LoginGrace, c.cut)
	}
	return c
}

// Read counts what the client sends. Its library caller reads in one goroutine.
func (c *connection) Read(p []byte) (int, error) {
	if !c.isUser.Load() {
		quickAck(c.Conn)
	}
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// serve runs the connection until the client or the server closes it. Each
// connection has a library server of its own: the callbacks are then methods of
// the connection, and no fact about the user travels through untyped values.
func (c *connection) serve() {
	defer context.AfterFunc(c.ctx, c.finish)()
	lib := &ssh.Server{
		ServerConfigCallback:     c.config,
		ConnectionFailedCallback: func(_ net.Conn, err error) { c.loginFailed(err) },
		ChannelHandlers: map[string]ssh.ChannelHandler{
			"session": c.openSession,
			"default": c.refuseChannel,
		},
	}
	for _, key := range c.srv.opts.HostKeys {
		lib.AddHostKey(key)
	}
	lib.HandleConn(c)
}

// finish is called when the server stops: it lets cancelled sessions say goodbye
// and cuts the connection.
func (c *connection) finish() {
	done := make(chan struct{})
	go func() { c.wait(); close(done) }()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	c.cut()
}

// end releases everything the connection owns; it returns when nothing is left.
func (c *connection) end() {
	if c.grace != nil {
		c.grace.Stop()
	}
	c.cancel()
	c.cut()
	c.wait()
	c.srv.deps.Log.DebugContext(c.ctx, "connection ended", slog.String(logging.KeyRemoteAddr, c.remote()))
}

// cut closes the socket; every read and write of the library then fails.
func (c *connection) cut() { _ = c.Close() } // a second close is not a fault

// own reports whether a new goroutine may still begin; the caller then calls
// c.owned.Done at its end.
func (c *connection) own() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.owned.Add(1)
	return true
}

// wait lets nothing new begin and waits for what runs.
func (c *connection) wait() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.owned.Wait()
}

func (c *connection) remote() string { return c.RemoteAddr().String() }

// keepAlive asks for a sign of life at every interval and cuts the connection
// after three without any byte from the client (security baseline S4).
func (c *connection) keepAlive(conn func() gossh.Conn) {
	const maxSilent = 3
	ticker := time.NewTicker(c.srv.opts.AliveInterval)
	defer ticker.Stop()
	answered := make(chan struct{}, 1)
	answered <- struct{}{}
	for seen, silent := c.received.Load(), 0; silent < maxSilent; {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case <-answered:
			go ping(conn(), answered) // ends with the answer or the connection
		default:
		}
		if now := c.received.Load(); now == seen {
			silent++
		} else {
			seen, silent = now, 0
		}
	}
	c.srv.deps.Log.InfoContext(c.ctx, "client does not answer", slog.String(logging.KeyRemoteAddr, c.remote()))
	c.cut()
}

func ping(conn gossh.Conn, answered chan<- struct{}) {
	if conn != nil {
		_, _, _ = conn.SendRequest("keepalive@openssh.com", true, nil) // a fault shows as silence
	}
	answered <- struct{}{}
}
