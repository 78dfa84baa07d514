package sshd

import (
	"context"
	"log/slog"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/logging"
)

// maxPending bounds the channel requests of one connection that wait for their
// answer to be written; a client that floods without reading is cut off.
const maxPending = 64

// refuseChannel answers a channel that is no session: no forwarding of any kind.
func (c *connection) refuseChannel(_ *ssh.Server, _ *gossh.ServerConn, ch gossh.NewChannel, _ ssh.Context) {
	c.reject(ch, gossh.UnknownChannelType, "unknown channel type")
}

func (c *connection) reject(ch gossh.NewChannel, reason gossh.RejectionReason, text string) {
	defer c.pending.Add(-1)
	if c.pending.Add(1) > maxPending {
		c.cut()
		return
	}
	_ = ch.Reject(reason, text) // the client is gone
}

// openSession runs a session channel from its opening to its close.
func (c *connection) openSession(_ *ssh.Server, conn *gossh.ServerConn, newChannel gossh.NewChannel, _ ssh.Context) {
	if !c.own() {
		c.reject(newChannel, gossh.ResourceShortage, "connection is closing")
		return
	}
	defer c.owned.Done()
	defer func() {
		if v := recover(); v != nil {
			logPanic(c.ctx, c.srv.deps.Log, v)
			c.cut()
		}
	}()
	who, err := identity(conn)
	if err != nil { // cannot be, unless a library lets somebody in
		c.srv.deps.Log.ErrorContext(c.ctx, "session without identity", slog.Any(logging.KeyError, err))
		c.cut()
		return
	}
	first, ok := c.takeSession()
	if !ok {
		c.srv.deps.Metrics.limited.Inc()
		c.reject(newChannel, gossh.ResourceShortage, "too many concurrent sessions")
		return
	}
	defer c.leaveSession()
	channel, requests, err := newChannel.Accept()
	if err != nil {
		return // the client is gone
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	ch := &sessionChannel{
		conn: c, channel: channel, who: who, first: first, opened: time.Now(), done: make(chan struct{}),
	}
	ch.serve(ctx, cancel, requests)
}

// takeSession takes one of the connection's places; first is true only once.
func (c *connection) takeSession() (first, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions >= c.srv.opts.MaxSessions {
		return false, false
	}
	c.sessions++
	first, c.used = !c.used, true
	return first, true
}

func (c *connection) leaveSession() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions--
}
