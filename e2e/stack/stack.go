// Package stack runs the whole of gitsplit for journeys: the real binaries under
// `gitsplit up`, with a home directory and ports of their own.
package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// RootPassword is the password of the user root in every stack.
const RootPassword = "correct-horse-battery-staple" //nolint:gosec // of test instances only

const (
	startTimeout = 2 * time.Minute // a bound for broken starts, not a promise of speed
	stopTimeout  = time.Minute
)

// Stack is a running gitsplit.
type Stack struct {
	Home     string // $GITSPLIT_HOME
	Bin      string // directory of the binaries
	HTTP     string // http://127.0.0.1:port
	HTTPS    string // https://127.0.0.1:port, for clients that trust CA
	CA       string // file of the local authority's certificate
	SSHHost  string // 127.0.0.1
	SSHPort  string
	Banner   string        // what `gitsplit up` printed until it was ready
	StartLag time.Duration // from exec to ready
	env      []string
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the process has been reaped
	waitErr  error
	out      *capture
}

// Build compiles all programs into dir as `make build` does, with make's variables
// set as told.
func Build(ctx context.Context, root, dir string, variables ...string) error {
	cmd := exec.CommandContext(ctx, "make", append([]string{"-s", "build", "BIN=" + dir}, variables...)...) //nolint:gosec // the test's own directory
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
}

// Start runs `gitsplit up` with the programs in bin and its state in home, and
// waits until it says it is ready. Extra variables go to its environment.
func Start(ctx context.Context, bin, home string, extra ...string) (*Stack, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		Home: home, Bin: bin, SSHHost: "127.0.0.1", SSHPort: ports[1],
		HTTP: "http://127.0.0.1:" + ports[0], HTTPS: "https://127.0.0.1:" + ports[2],
		CA: filepath.Join(home, "secrets", "tls", "ca.crt"), exited: make(chan struct{}), out: newCapture(),
	}
	// Not CommandContext: an end of ctx must not kill the supervisor before its children.
	s.cmd = exec.Command(filepath.Join(bin, "gitsplit"), "up") //nolint:gosec,noctx // our own program
	s.env = []string{
		"GITSPLIT_HOME=" + home, "GITSPLIT_HTTP_PORT=" + ports[0], "GITSPLIT_SSH_PORT=" + ports[1],
		"GITSPLIT_HTTPS_PORT=" + ports[2], "EXTERNAL_URL=" + s.HTTP,
	}
	s.cmd.Env = append(append(append(os.Environ(), s.env...), "GITSPLIT_ROOT_PASSWORD="+RootPassword), extra...)
	// A test that is killed takes its instance with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	began := time.Now()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel counts the thread that started the process as its parent
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.waitErr = s.cmd.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start gitsplit: %w", err)
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	s.StartLag = time.Since(began)
	s.Banner = s.out.String()
	return s, nil
}

func (s *Stack) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-s.out.ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("gitsplit up ended: %w\n%s", s.waitErr, s.out)
	case <-ctx.Done():
		return fmt.Errorf("gitsplit up is not ready: %w\n%s", ctx.Err(), s.out)
	}
}

// Stop interrupts gitsplit as Ctrl-C does and waits for its end.
func (s *Stack) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("interrupt gitsplit: %w", err)
	}
	select {
	case <-s.exited:
		return s.waitErr
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("gitsplit does not stop"), s.Kill())
	}
}

// Kill ends the supervisor with SIGKILL, as the kernel does when memory is short.
func (s *Stack) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.exited
	return err
}

// Environ returns the variables that name this instance to commands of gitsplit.
func (s *Stack) Environ() []string { return s.env }

// Output returns what gitsplit printed so far.
func (s *Stack) Output() string { return s.out.String() }

// Token returns the initial access token of root.
func (s *Stack) Token() (string, error) { return s.Secret("initial_root_token") }

// Secret returns the trimmed content of a file in the secrets directory.
func (s *Stack) Secret(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.Home, "secrets", name)) //nolint:gosec // a test's own home
	return strings.TrimSpace(string(b)), err
}

// Repositories returns the directories of all repositories on disk.
func (s *Stack) Repositories() ([]string, error) {
	return filepath.Glob(filepath.Join(s.Home, "data", "repositories", "@hashed", "*", "*", "*.git"))
}

func freePorts(n int) ([]string, error) {
	ports := make([]string, 0, n)
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer ln.Close() //nolint:errcheck // held until all are found, so that they differ
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// capture keeps the program's output and notices the line that says it is ready.
type capture struct {
	mu    sync.Mutex
	text  strings.Builder
	w     *io.PipeWriter
	ready chan struct{}
}

// readyMark ends the banner of `gitsplit up`.
const readyMark = "gitsplit is ready"

func newCapture() *capture {
	r, w := io.Pipe()
	c := &capture{w: w, ready: make(chan struct{})}
	go c.scan(r)
	return c
}

func (c *capture) scan(r io.Reader) {
	once := sync.OnceFunc(func() { close(c.ready) })
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		c.mu.Lock()
		c.text.WriteString(lines.Text() + "\n")
		c.mu.Unlock()
		if strings.Contains(lines.Text(), readyMark) {
			once()
		}
	}
}

// Write takes the program's output.
func (c *capture) Write(p []byte) (int, error) { return c.w.Write(p) }

// String returns all output so far.
func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}
