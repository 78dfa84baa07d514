package process_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/services/gitaly/internal/process"
)

// TestBounds: limits and control group are there before the program reads its input.
func TestBounds(t *testing.T) {
	t.Parallel()
	procs := filepath.Join(t.TempDir(), "cgroup.procs")
	r, w := io.Pipe()
	var out bytes.Buffer
	o := sh("read x; ulimit -d; ulimit -St; ulimit -Ht")
	o.Stdin, o.Stdout, o.Memory, o.CPU = r, &out, 64<<20, 7*time.Second
	o.Cgroup = &process.Cgroup{Procs: []string{procs}}
	p, err := process.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, "go\n")
	_ = w.Close()
	if err := p.Wait(); err != nil || out.String() != "65536\n7\n12\n" {
		t.Errorf("limits %q, %v", out.String(), err)
	}
	if raw, err := os.ReadFile(procs); string(raw) != strconv.Itoa(p.Pid()) {
		t.Errorf("moved %q, %v", raw, err)
	}
}

func TestBounds_cpu(t *testing.T) {
	t.Parallel()
	o := sh("while :; do :; done")
	o.CPU = time.Nanosecond // rounded up to the shortest
	if err := run(t.Context(), o); process.ExitCode(err) != 128+int(syscall.SIGXCPU) {
		t.Errorf("err = %v", err)
	}
}

func TestStart_noCgroup(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "marker")
	o := sh("read x; touch " + marker)
	o.Stdin = strings.NewReader("go\n")
	o.Cgroup = &process.Cgroup{Procs: []string{filepath.Join(t.TempDir(), "none", "cgroup.procs")}}
	if err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "move into control group") {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the program did its work without its bounds")
	}
}

// TestStartsIn starts a program right in a group, where this machine has a hierarchy
// of version 2 that is ours to use.
func TestStartsIn(t *testing.T) {
	t.Parallel()
	plain, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if process.StartsIn(plain) {
		t.Error("a program starts in a directory that is no group")
	}
	for _, mountpoint := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(mountpoint, "cgroup.controllers")); err != nil {
			continue
		}
		name := "gitaly-test-" + strconv.Itoa(os.Getpid())
		if err := os.Mkdir(filepath.Join(mountpoint, name), 0o700); err != nil {
			continue // not delegated
		}
		defer func() { _ = os.Remove(filepath.Join(mountpoint, name)) }()
		group, err := os.Open(filepath.Join(mountpoint, name))
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()
		var out bytes.Buffer
		o := sh("grep ^0: /proc/self/cgroup")
		o.Stdout, o.Cgroup = &out, &process.Cgroup{Dir: group}
		if err := run(t.Context(), o); err != nil || !strings.HasSuffix(out.String(), name+"\n") || !process.StartsIn(group) {
			t.Errorf("group %q, %v", out.String(), err)
		}
	}
}
