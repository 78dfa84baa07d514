package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A push and a clone of much must leave workhorse small. More is pushed with
// WORKHORSE_TEST_MIB set.
const (
	memoryPushed = 96 // MiB
	memoryLimit  = 100 << 20
	idleClients  = 2000
)

// process runs the program gitlab-workhorse, without the race detector, as it is
// installed, between the fakes of s.
func (s *setup) process() (pid int) {
	s.t.Helper()
	dir := s.t.TempDir()
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w",
		"-o", dir, "./cmd/gitlab-workhorse")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build gitlab-workhorse: %v\n%s", err, out)
	}
	// A free port: the program cannot tell which one it got.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	_ = ln.Close()
	cmd := exec.CommandContext(context.Background(), filepath.Join(dir, "gitlab-workhorse"),
		"-listenAddr", s.addr, "-authSocket", s.rails.socket, "-secretPath", s.secret)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("gitlab-workhorse: %v\n%s", err, s.log)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("gitlab-workhorse does not listen: %v", err)
		}
	}
}

// memory returns a line of a process's status, in bytes: VmHWM is the most that has
// been resident, VmRSS what is.
func memory(t *testing.T, pid int, name string) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), name+":")
	var kib int
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return kib << 10
}

// TestResident: workhorse's memory grows neither with what passes through it nor,
// much, with who stays connected.
func TestResident(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if err := s.stop(); err != nil { // the fakes stay
		t.Fatal(err)
	}
	pid := s.process()
	atStart := memory(t, pid, "VmHWM")
	mib := memoryPushed
	if more, err := strconv.Atoi(os.Getenv("WORKHORSE_TEST_MIB")); err == nil {
		mib = more
	}
	work := s.work()
	git(t, work, "config", "core.compression", "0")
	git(t, work, "config", "core.bigFileThreshold", "1m")
	file, err := os.Create(filepath.Join(work, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	for range mib {
		if _, err := file.Write(noise(t, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	git(t, work, "add", "blob")
	git(t, work, "commit", "-q", "-m", "much")
	git(t, work, "push", "-q", "origin", "main")
	git(t, "", "clone", "-q", "--bare", s.remote(), filepath.Join(t.TempDir(), "copy"))
	after := memory(t, pid, "VmHWM")
	t.Logf("%d MiB at the start, %d MiB after a push and a clone of %d MiB", atStart>>20, after>>20, mib)

	s.rails.proxied = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	before := memory(t, pid, "VmRSS")
	for range idleClients {
		c, err := net.Dial("tcp", s.at())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatalf("answer %v, %v", res, err)
		}
	}
	idle := memory(t, pid, "VmRSS")
	t.Logf("%d idle connections cost %d KiB each", idleClients, (idle-before)/idleClients>>10)
	if res, _ := s.do("GET", refsPath, nil); res.StatusCode != 200 {
		t.Errorf("with idle clients: %d", res.StatusCode)
	}
	if most := memory(t, pid, "VmHWM"); most > memoryLimit {
		t.Errorf("%d bytes resident, want at most %d", most, memoryLimit)
	}
}
