package process_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/kit/pktline"
	"gitsplit/services/gitaly/internal/process"
)

func sh(script string) process.Options {
	return process.Options{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

func run(ctx context.Context, o process.Options) error {
	p, err := process.Start(ctx, o)
	if err != nil {
		return err
	}
	return p.Wait()
}

func TestRun(t *testing.T) {
	t.Parallel()
	o := sh("cat; echo bad >&2; exit 3")
	var stdout, stderr bytes.Buffer
	o.Stdin, o.Stdout, o.Stderr = strings.NewReader("in"), &stdout, &stderr
	err := run(context.Background(), o)
	if process.ExitCode(err) != 3 || stdout.String() != "in" || stderr.String() != "bad\n" {
		t.Errorf("err %v, stdout %q, stderr %q", err, stdout.String(), stderr.String())
	}
	if process.ExitCode(nil) != 0 || process.ExitCode(io.EOF) != -1 {
		t.Error("ExitCode of no exit error is wrong")
	}
}

// TestPriority: a program's is below ours, and lowered before it reads its input.
func TestPriority(t *testing.T) {
	t.Parallel()
	ours, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	for background, more := range map[bool]int{false: 5, true: 15} {
		r, w := io.Pipe()
		var out bytes.Buffer
		o := sh("read x; ps -o ni= -p $$")
		o.Stdin, o.Stdout, o.Background = r, &out, background
		p, err := process.Start(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, "go\n")
		_ = w.Close()
		want := strconv.Itoa(min(20-ours+more, 19))
		if err := p.Wait(); err != nil || strings.TrimSpace(out.String()) != want {
			t.Errorf("background %v: niceness %q, %v, want %s", background, out.String(), err, want)
		}
	}
}

// TestWait_straggler: a child that outlives its leader and holds its output does
// not hold us.
func TestWait_straggler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := sh("sleep 1000 & echo $!")
	o.Stdout = &out
	if err := run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if alive(t, pid) {
		t.Errorf("child %d is alive after its group was waited for", pid)
	}
}

// alive looks for a process that is no zombie.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	state := strings.TrimSpace(string(out))
	return state != "" && !strings.HasPrefix(state, "Z")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		signal       syscall.Signal
	}{
		{"polite", "echo ready; exec sleep 1000", syscall.SIGTERM},
		{"stubborn", "trap '' TERM; echo ready; while :; do sleep 1000; done", syscall.SIGKILL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, w := io.Pipe()
			o := sh(tc.script)
			o.Stdout, o.Grace = w, 50*time.Millisecond
			p, err := process.Start(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, len("ready"))); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, r) }()
			cancel()
			err = p.Wait()
			if !errors.Is(err, context.Canceled) || !process.Signalled(err) || process.ExitCode(err) != 128+int(tc.signal) {
				t.Errorf("err = %v (%d), want canceled by signal %d", err, process.ExitCode(err), tc.signal)
			}
		})
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriterFails(t *testing.T) {
	t.Parallel()
	o := sh("while :; do echo x; done")
	o.Stdout = failingWriter{}
	if err := run(context.Background(), o); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("err = %v, want the writer's", err)
	}
}

// TestBlockedInput: a program that does not read its input ends without it.
func TestBlockedInput(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	o := sh("exit 0")
	o.Stdin = r
	if err := run(context.Background(), o); err != nil {
		t.Errorf("err = %v", err)
	}
}

func TestStart_fails(t *testing.T) {
	t.Parallel()
	o := sh("")
	o.Path, o.Stdin, o.Stdout = "/nonexistent", strings.NewReader("x"), io.Discard
	if err := run(context.Background(), o); err == nil {
		t.Error("a program that is not there starts")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrNoProgress)
	if err := run(ctx, sh("true")); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("err = %v, want what ended the context", err)
	}
}

// TestPackets: what is put in packets is read in large pieces, and nothing is lost.
func TestPackets(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"a line":       "echo line",
		"small pieces": "i=0; while [ $i -lt 300 ]; do printf '%08192d' $i; i=$((i+1)); done",
		"one large":    "printf '%0300000d' 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var plain, packets bytes.Buffer
			o := sh(script)
			o.Stdout = &plain
			if err := run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			o.Stdout = pktline.NewBandWriter(&packets, pktline.BandData)
			if err := run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			var joined bytes.Buffer
			s := pktline.NewScanner(&packets)
			defer s.Close()
			for s.Scan() {
				joined.Write(s.Payload()[1:])
			}
			if s.Err() != nil || plain.Len() == 0 || !bytes.Equal(plain.Bytes(), joined.Bytes()) {
				t.Errorf("%d bytes in packets, want %d, %v", joined.Len(), plain.Len(), s.Err())
			}
		})
	}
}
