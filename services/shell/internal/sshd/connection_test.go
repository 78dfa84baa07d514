package sshd_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/sshd"
)

func TestServer_onlySessionChannels(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	client := s.dial(t)
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com", "x11"} {
		_, _, err := client.OpenChannel(kind, nil)
		refusal, ok := errors.AsType[*gossh.OpenChannelError](err)
		if !ok || refusal.Reason != gossh.UnknownChannelType || refusal.Message != "unknown channel type" {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	for _, request := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "nonsense"} {
		if ok, _, err := client.SendRequest(request, true, nil); ok || err != nil {
			t.Errorf("%s: got %v (%v), want refused", request, ok, err)
		}
	}
	if _, err := newSession(t, client).Output("x"); err != nil {
		t.Errorf("session after the refusals: %v", err)
	}
}

func TestServer_sessionLimit(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 10)
	s := start(t, hold(causes), nil)
	client := s.dial(t)
	var open []*gossh.Session
	for range 10 {
		sess := newSession(t, client)
		if err := sess.Start("x"); err != nil {
			t.Fatal(err)
		}
		open = append(open, sess)
	}
	_, err := client.NewSession()
	refusal, ok := errors.AsType[*gossh.OpenChannelError](err)
	if !ok || refusal.Reason != gossh.ResourceShortage || refusal.Message != "too many concurrent sessions" {
		t.Errorf("11th session: got %v", err)
	}
	open[0].Close()
	_ = await(t, "the end of one session", causes)
	opened := make(chan struct{})
	go func() { // the place is free once the server has seen the close
		defer close(opened)
		for {
			if sess, err := client.NewSession(); err == nil {
				sess.Close()
				return
			}
		}
	}()
	await(t, "a session in the place that became free", opened)
}

func TestServer_connectionLimits(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*sshd.Options)
	}{
		{"per address", func(o *sshd.Options) { o.MaxPerAddress = 2 }},
		{"in total", func(o *sshd.Options) { o.MaxConnections = 2 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, runnerFunc(whoami), tc.change)
			first := s.dial(t)
			s.dial(t)
			if client, err := s.dialAs("git", gossh.PublicKeys(s.addKey(t, 7))); err == nil {
				client.Close()
				t.Fatal("the third connection was accepted")
			}
			first.Close()
			again := make(chan struct{})
			key := s.addKey(t, 7)
			go func() { // the place is free once the server has seen the end
				defer close(again)
				for {
					if client, err := s.dialAs("git", gossh.PublicKeys(key)); err == nil {
						client.Close()
						return
					}
				}
			}()
			await(t, "a connection in the place that became free", again)
		})
	}
}

func TestServer_clientGone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		leave func(*gossh.Client, *gossh.Session)
	}{
		{"connection lost", func(c *gossh.Client, _ *gossh.Session) { c.Close() }},
		{"channel closed", func(_ *gossh.Client, s *gossh.Session) { s.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			causes := make(chan error, 1)
			s := start(t, hold(causes), nil)
			client := s.dial(t)
			sess := newSession(t, client)
			if err := sess.Start("x"); err != nil {
				t.Fatal(err)
			}
			tc.leave(client, sess)
			if err := await(t, "the session to be cancelled", causes); !errors.Is(err, context.Canceled) {
				t.Errorf("cause: got %v", err)
			}
		})
	}
}

// frozenConn is a client that stops reading and writing without closing.
type frozenConn struct {
	net.Conn
	frozen chan struct{}
	closed chan struct{}
}

func (c frozenConn) Write(p []byte) (int, error) {
	select {
	case <-c.frozen:
		<-c.closed
		return 0, io.ErrClosedPipe
	default:
		return c.Conn.Write(p)
	}
}

func TestServer_keepAlive(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	s := start(t, hold(causes), func(o *sshd.Options) { o.AliveInterval = 100 * time.Millisecond })
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := frozenConn{Conn: raw, frozen: make(chan struct{}), closed: make(chan struct{})}
	sshConn, channels, requests, err := gossh.NewClientConn(conn, s.addr, &gossh.ClientConfig{
		User: "git", Auth: []gossh.AuthMethod{gossh.PublicKeys(s.addKey(t, 7))},
		HostKeyCallback: gossh.FixedHostKey(s.hostKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 100)
	forwarded := make(chan *gossh.Request)
	go func() {
		defer close(forwarded)
		for r := range requests {
			seen <- r.Type
			forwarded <- r
		}
	}()
	client := gossh.NewClient(sshConn, channels, forwarded)
	defer func() { close(conn.closed); client.Close() }()
	if err := newSession(t, client).Start("x"); err != nil {
		t.Fatal(err)
	}
	for range 5 { // longer than a silent client would live
		if kind := await(t, "a keep-alive", seen); kind != "keepalive@openssh.com" {
			t.Errorf("request: got %q", kind)
		}
	}
	close(conn.frozen)
	_ = await(t, "the silent client to be cut off", causes)
}

// A client that opens channels faster than it reads the refusals may be cut off; it
// must not make the server keep a goroutine for each, nor harm anybody else.
func TestServer_channelFlood(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	client := s.dial(t)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() { _, _, _ = client.OpenChannel("direct-tcpip", nil) })
	}
	wg.Wait()
	if _, err := newSession(t, s.dial(t)).Output("x"); err != nil {
		t.Errorf("session of another client: %v", err)
	}
}

func TestServer_stop(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	s := start(t, hold(causes), func(o *sshd.Options) { o.Grace = 200 * time.Millisecond })
	client := s.dial(t)
	sess := newSession(t, client)
	var notices bytes.Buffer
	sess.Stderr = &notices
	stdout, err := sess.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sess.Start("x"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("first output %q: %v", line, err)
	}
	if err := s.sshd.Ready(t.Context()); err != nil {
		t.Errorf("ready while serving: %v", err)
	}
	began := time.Now()
	s.stop()
	await(t, "readiness to go", s.draining)
	if err := s.sshd.Ready(t.Context()); err == nil {
		t.Error("still ready while stopping")
	}
	err = sess.Wait()
	if exit, ok := errors.AsType[*gossh.ExitError](err); !ok || exit.ExitStatus() != 1 {
		t.Errorf("session at the end of the grace: got %v, want exit status 1", err)
	}
	if !strings.Contains(notices.String(), "is being stopped") {
		t.Errorf("text for the user: got %q", &notices)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("cancelled after %v, before the grace was over", took)
	}
	if err := await(t, "the server to end", s.stopped); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the port still answers")
	}
}

// slow is a listener whose server is slow to accept.
type slow struct {
	*net.TCPListener
	asked chan struct{} // is closed when the server wants a connection
	goOn  chan struct{}
	once  sync.Once
}

func (l *slow) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.asked) })
	<-l.goOn
	return l.TCPListener.Accept()
}

// TestServer_stopLastCall: who has connected before the end is served.
func TestServer_stopLastCall(t *testing.T) {
	t.Parallel()
	door := &slow{asked: make(chan struct{}), goOn: make(chan struct{})}
	s := startAt(t, runnerFunc(whoami), func(o *sshd.Options) { o.Grace = time.Hour }, func(ln net.Listener) net.Listener {
		door.TCPListener = ln.(*net.TCPListener)
		return door
	})
	await(t, "the server to wait for connections", door.asked)
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	await(t, "the stop to begin", s.draining)
	close(door.goOn)
	nc, chans, reqs, err := gossh.NewClientConn(conn, s.addr, &gossh.ClientConfig{
		User: "git", Auth: []gossh.AuthMethod{gossh.PublicKeys(s.addKey(t, 7))}, HostKeyCallback: gossh.FixedHostKey(s.hostKey),
	})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	client := gossh.NewClient(nc, chans, reqs)
	if _, err := newSession(t, client).Output("x"); err != nil {
		t.Errorf("session: %v", err)
	}
	client.Close()
	if err := await(t, "the server to end with its last connection", s.stopped); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServer_stopWaitsForSessions(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), func(o *sshd.Options) { o.Grace = time.Hour })
	client := s.dial(t)
	s.stop()
	await(t, "the stop to begin", s.draining)
	if _, err := newSession(t, client).Output("x"); err != nil {
		t.Errorf("session within the grace: %v", err)
	}
	client.Close()
	if err := await(t, "the server to end with its last connection", s.stopped); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
