package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/ctl/internal/supervise"
)

// helperVar turns this test binary into one of the processes that the tests
// supervise. Its value is the part to play, its arguments follow.
const helperVar = "SUPERVISE_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVar) {
	case "":
		os.Exit(m.Run())
	case "serve": // until asked to stop
		serve(syscall.SIGTERM)
	case "stubborn": // does not listen
		deaf := make(chan os.Signal, 1)
		signal.Notify(deaf, syscall.SIGTERM)
		say("up %d", os.Getpid())
		select {} // not a deadlock to Go, since signals may come
	case "crash":
		say("up %d", os.Getpid())
		os.Exit(3)
	case "parent": // has a child in a process group of its own
		child := helper("serve")
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			panic(err)
		}
		serve(syscall.SIGTERM)
	case "supervisor":
		supervisor()
	}
}

// serve writes one line, waits for the signal, writes another one.
func serve(sig os.Signal) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, sig)
	say("up %d", os.Getpid())
	<-stop
	say("down %d", os.Getpid())
}

// supervisor runs three processes in a row, until asked to stop.
func supervisor() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	sup, err := supervise.New([]supervise.Spec{
		spec("a", "serve"), spec("b", "parent", "a"), spec("c", "stubborn", "b"),
	}, supervise.Options{Adopt: true})
	if err != nil {
		panic(err)
	}
	if err := sup.Run(ctx, func() { say("ready 0") }); err != nil {
		panic(err)
	}
}

func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}

func helper(part string) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) //nolint:noctx // ends by signal
	cmd.Env = append(os.Environ(), helperVar+"="+part)
	return cmd
}

// spec plays part under name, writing to our stdout, and is ready at once.
func spec(name, part string, after ...string) supervise.Spec {
	return supervise.Spec{
		Name: name, Path: os.Args[0], Env: append(os.Environ(), helperVar+"="+part),
		After: after, Output: os.Stdout, Grace: 10 * time.Second, Orphan: syscall.SIGKILL,
	}
}

// lines is an Output that sends each line as it comes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l <- strings.TrimSpace(line)
	}
	return len(p), nil
}

// await returns the next line that begins with prefix.
func (l lines) await(tb testing.TB, prefix string) string {
	tb.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case line := <-l:
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest)
			}
		case <-limit:
			tb.Fatalf("no line %q came", prefix)
		}
	}
}

// awaitGone waits for the process to end.
func awaitGone(tb testing.TB, pid int) {
	tb.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		tb.Fatalf("pidfd of %d: %v", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
	}
	if err != nil || n != 1 {
		tb.Fatalf("process %d is still there (%v)", pid, err)
	}
}
