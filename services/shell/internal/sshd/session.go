package sshd

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/session"
)

const (
	maxEnvRequests = 16
	maxGitProtocol = 256
)

// sessionChannel is one session: requests that prepare it, then one command.
type sessionChannel struct {
	conn    *connection
	channel gossh.Channel
	who     session.Identity
	first   bool // of its connection
	opened  time.Time

	envRequests int
	gitProtocol string
	line        string
	running     bool
	done        chan struct{} // closed when the command has ended
}

// serve answers requests until the channel is closed on both sides, and runs the
// command beside. The close of the channel cancels the command.
func (s *sessionChannel) serve(ctx context.Context, cancel context.CancelFunc, requests <-chan *gossh.Request) {
	started := false
	for req := range requests {
		ok := s.accept(req)
		if req.WantReply {
			_ = req.Reply(ok, nil) // the client is gone; requests ends
		}
		if s.running && !started {
			started = true
			go s.run(ctx)
		}
	}
	cancel()
	if started {
		<-s.done
	}
}

// accept decides on one request (wire/gitlab-shell.md §11, security baseline S5).
// Only the environment of git's protocol and the command itself are accepted.
func (s *sessionChannel) accept(req *gossh.Request) bool {
	if s.running {
		return false
	}
	switch req.Type {
	case "env":
		return s.setEnv(req.Payload)
	case "exec":
		var exec struct{ Line string }
		if gossh.Unmarshal(req.Payload, &exec) != nil {
			return false
		}
		s.line, s.running = exec.Line, true
		return true
	case "shell":
		s.running = true
		return true
	default:
		return false
	}
}

func (s *sessionChannel) setEnv(payload []byte) bool {
	var env struct{ Name, Value string }
	s.envRequests++
	if s.envRequests > maxEnvRequests || gossh.Unmarshal(payload, &env) != nil {
		return false
	}
	if env.Name != "GIT_PROTOCOL" || len(env.Value) > maxGitProtocol || !utf8.ValidString(env.Value) {
		return false
	}
	s.gitProtocol = env.Value
	return true
}

// run runs the command and ends the session: EOF, exit status, close.
func (s *sessionChannel) run(ctx context.Context) {
	defer close(s.done)
	established := time.Now()
	ctx, facts := logging.WithEvent(ctx)
	in := &counter{Reader: s.channel}
	out := &counter{Writer: s.channel}
	notices := &counter{Writer: s.channel.Stderr()}
	exit, err := s.command(ctx, session.Request{
		Identity:    s.who,
		RemoteAddr:  s.conn.remote(),
		Line:        s.line,
		GitProtocol: s.gitProtocol,
		Stdin:       in,
		Stdout:      out,
		Stderr:      notices,
	})
	if err != nil {
		s.conn.srv.deps.Log.WarnContext(ctx, "session error", slog.Any(logging.KeyError, err))
	}
	ended := time.Now()
	s.exit(exit)
	finish := time.Since(ended)
	s.conn.srv.deps.Metrics.session(time.Since(s.opened), established.Sub(s.opened), err)
	s.conn.srv.deps.Metrics.Phase("finish", finish)
	s.logAccess(ctx, append(facts(),
		slog.Float64("finish_ms", logging.Milliseconds(finish)),
		slog.Int(logging.KeyExitStatus, exit),
		slog.String("outcome", outcome(exit, err)),
		slog.Int64(logging.KeyBytesIn, in.n.Load()),
		slog.Int64(logging.KeyBytesOut, out.n.Load()+notices.n.Load())))
	_ = s.channel.Close() // last, so that a client that is done finds its line in the log
}

// outcome names the end of a session in one word.
func outcome(exit int, err error) string {
	switch {
	case err != nil:
		return "failed"
	case exit != 0:
		return "refused"
	}
	return "done"
}

// logAccess writes the session's line with what the connection knows. The first
// session's line begins with the connection and has the phases of the login.
func (s *sessionChannel) logAccess(ctx context.Context, attrs []slog.Attr) {
	started := s.opened
	if s.first {
		started = s.conn.started
		l := &s.conn.login
		attrs = append(attrs,
			slog.Float64("handshake_ms", logging.Milliseconds(l.took-l.keyLookups)),
			slog.Float64("key_ms", logging.Milliseconds(l.keyLookups)))
	}
	logging.Access(ctx, s.conn.srv.deps.Log, started, append(attrs,
		slog.String("key_id", strconv.FormatInt(s.who.KeyID, 10)),
		slog.String("certificate_username", s.who.Username),
		slog.String(logging.KeyRemoteAddr, s.conn.remote()))...)
}

// exit tells the client how the command ended; it fails when the client is gone.
func (s *sessionChannel) exit(status int) {
	_ = s.channel.CloseWrite()
	_, _ = s.channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{uint32(status)})) //nolint:gosec // 0 to 255
}

// command contains a panic: the session ends as failed.
func (s *sessionChannel) command(ctx context.Context, req session.Request) (exit int, err error) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(ctx, s.conn.srv.deps.Log, v)
			exit = 1
		}
	}()
	return s.conn.srv.deps.Runner.Run(ctx, req)
}

// counter counts the bytes of a stream.
type counter struct {
	io.Reader
	io.Writer
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}
