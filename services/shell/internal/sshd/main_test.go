package sshd_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/session"
	"gitsplit/services/shell/internal/sshd"
)

// TestMain fails if the tests leave a goroutine of the server behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftovers(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers() (stacks string) {
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "shell/internal/sshd.(") {
			return ""
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return stacks
		}
	}
}

// fakeKeys knows some keys and remembers what it was asked.
type fakeKeys struct {
	mu     sync.Mutex
	known  map[string]int64
	err    error
	panics bool
	asked  []string
}

func (k *fakeKeys) KeyID(_ context.Context, blob string) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, blob)
	if k.panics {
		panic("broken look-up")
	}
	if k.err != nil {
		return 0, k.err
	}
	id, ok := k.known[blob]
	if !ok {
		return 0, errs.New(errs.NotFound, "404 Key Not Found")
	}
	return id, nil
}

func (k *fakeKeys) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.asked)
}

type runnerFunc func(ctx context.Context, req session.Request) (int, error)

func (f runnerFunc) Run(ctx context.Context, req session.Request) (int, error) { return f(ctx, req) }

// whoami answers with everything it knows.
func whoami(_ context.Context, req session.Request) (int, error) {
	_, err := fmt.Fprintf(req.Stdout, "key=%d line=%q protocol=%q", req.KeyID, req.Line, req.GitProtocol)
	if req.Username != "" {
		_, err = fmt.Fprintf(req.Stdout, " username=%q namespace=%q", req.Username, req.Namespace)
	}
	return 0, err
}

// hold runs until it is cancelled, reports why, and says so to the user.
func hold(causes chan<- error) runnerFunc {
	return func(ctx context.Context, req session.Request) (int, error) {
		_, _ = io.WriteString(req.Stdout, "holding\n")
		<-ctx.Done()
		_, _ = io.WriteString(req.Stderr, errs.Message(context.Cause(ctx)))
		causes <- context.Cause(ctx)
		return 1, nil
	}
}

type server struct {
	addr     string
	keys     *fakeKeys
	log      *syncBuffer
	sshd     *sshd.Server
	draining chan struct{}
	stop     context.CancelFunc
	stopped  chan error
	hostKey  gossh.PublicKey

	certificates sshd.Certificates // nil refuses them all
}

// Identity implements sshd.Certificates.
func (s *server) Identity(ctx context.Context, principal string, cert *gossh.Certificate) (session.Identity, error) {
	if s.certificates == nil {
		return session.Identity{}, errs.New(errs.NotFound, "no certificates here")
	}
	return s.certificates.Identity(ctx, principal, cert)
}

// start runs a server on a free port until the test ends.
func start(t testing.TB, runner sshd.Runner, change func(*sshd.Options)) *server {
	t.Helper()
	return startAt(t, runner, change, func(ln net.Listener) net.Listener { return ln })
}

// startAt has the server accept from what door makes of its listener.
func startAt(t testing.TB, runner sshd.Runner, change func(*sshd.Options), door func(net.Listener) net.Listener) *server {
	t.Helper()
	host := newSigner(t)
	opts := sshd.Options{
		User: "git", HostKeys: []gossh.Signer{host}, Algorithms: sshd.DefaultAlgorithms(),
		LoginGrace: 30 * time.Second, AliveInterval: 15 * time.Second, Grace: 100 * time.Millisecond,
		MaxSessions: 10, MaxConnections: 1000, MaxPerAddress: 1000,
		Startups: sshd.Startups{Start: 1000, Rate: 100, Full: 1000},
	}
	if change != nil {
		change(&opts)
	}
	s := &server{
		keys: &fakeKeys{known: map[string]int64{}}, log: &syncBuffer{}, hostKey: host.PublicKey(),
		draining: make(chan struct{}), stopped: make(chan error, 1),
	}
	log, err := logging.New(s.log, logging.Options{Service: "gitlab-sshd", Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	s.sshd = sshd.New(opts, sshd.Deps{
		Keys: s.keys, Certificates: s, Runner: runner, Log: log,
		Metrics:  sshd.NewMetrics(prometheus.NewRegistry()),
		Draining: func() { close(s.draining) },
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.stopped <- s.sshd.Serve(ctx, door(ln)); close(s.stopped) }()
	t.Cleanup(func() {
		s.stop()
		<-s.stopped
	})
	return s
}

// addKey makes a key that the server knows under the id.
func (s *server) addKey(t testing.TB, id int64) gossh.Signer {
	t.Helper()
	signer := newSigner(t)
	s.addPublicKey(signer.PublicKey(), id)
	return signer
}

func (s *server) addPublicKey(key gossh.PublicKey, id int64) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.known[blob(key)] = id
}

func newSigner(t testing.TB) gossh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func signerOf(t testing.TB, key crypto.PrivateKey) gossh.Signer {
	t.Helper()
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (s *server) dialAs(user string, auth ...gossh.AuthMethod) (*gossh.Client, error) {
	return gossh.Dial("tcp", s.addr, &gossh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: gossh.FixedHostKey(s.hostKey), Timeout: 10 * time.Second,
	})
}

// dial logs in with a key of id 7.
func (s *server) dial(t *testing.T) *gossh.Client {
	t.Helper()
	client, err := s.dialAs("git", gossh.PublicKeys(s.addKey(t, 7)))
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newSession(t *testing.T, client *gossh.Client) *gossh.Session {
	t.Helper()
	sess, err := client.NewSession()
	if err != nil {
		t.Fatalf("open session: %v", err)
	}
	return sess
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await fails the test if ch does not deliver in time.
func await[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(15 * time.Second):
		t.Fatalf("waited too long for %s", what)
		panic("unreachable")
	}
}
