package gitcmd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/process"
)

// endedBy runs a shell that a signal ends and returns its error.
func endedBy(t *testing.T, signal string) *Error {
	t.Helper()
	err := exec.CommandContext(t.Context(), "sh", "-c", "kill -"+signal+" $$").Run()
	return &Error{Code: process.ExitCode(err), Err: err}
}

func TestFactory_shortage(t *testing.T) {
	t.Parallel()
	counters := filepath.Join(t.TempDir(), "vmstat")
	count := func(n string) {
		if err := os.WriteFile(counters, []byte("pgfree 1\noom_kill "+n+"\noom_kill_other 9\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	count("4")
	f := &Factory{ooms: newOOMWatch(counters)}
	exit := errors.New("exit status 128")
	for _, tc := range []struct {
		name string
		err  *Error
		want string // "" is the error itself
		grow string
	}{
		{name: "failed", err: &Error{Code: 128, Err: exit, Stderr: "fatal: bad object"}},
		{name: "killed by somebody", err: endedBy(t, "KILL")},
		{name: "child killed by somebody", err: &Error{Code: 128, Err: exit, Stderr: "error: index-pack died of signal 9\n"}},
		{name: "allocation", err: &Error{Code: 128, Err: exit, Stderr: "fatal: Out of memory, malloc failed (tried to allocate 9 bytes)\n"}, want: ShortOfMemory},
		{name: "mapping", err: &Error{Code: 128, Err: exit, Stderr: "fatal: mmap failed: Cannot allocate memory\n"}, want: ShortOfMemory},
		{name: "CPU time", err: endedBy(t, "XCPU"), want: ShortOfTime},
		{name: "CPU time of a child", err: &Error{Code: 1, Err: exit, Stderr: "error: index-pack died of signal 24\n"}, want: ShortOfTime},
		{name: "killed by the kernel", err: endedBy(t, "KILL"), grow: "5", want: ShortOfMemory},
		{name: "together with the one before", err: endedBy(t, "KILL"), want: ShortOfMemory},
		{name: "child killed by the kernel", err: &Error{Code: 128, Err: exit, Stderr: "error: index-pack died of signal 9\n"}, want: ShortOfMemory},
		{name: "terminated", err: endedBy(t, "TERM")},
	} {
		if tc.grow != "" {
			count(tc.grow)
		}
		err := f.shortage(tc.err, time.Now().Add(-time.Minute))
		if tc.want == "" && err != tc.err || tc.want != "" && (errs.Message(err) != tc.want || errs.KindOf(err) != errs.Exhausted) { //nolint:errorlint // the very error
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if Short(err) != (tc.want != "") || Exited(err, tc.err.Code) != (tc.want == "") {
			t.Errorf("%s: short: %v, exited: %v", tc.name, Short(err), Exited(err, tc.err.Code))
		}
	}
	if f.OutOfMemory(time.Now()) {
		t.Error("what was before counts")
	}
	if newOOMWatch(filepath.Join(t.TempDir(), "none")).since(time.Now().Add(-time.Hour)) {
		t.Error("a kernel without counter has run out of memory")
	}
}

// TestFactory_bounds: what git may use depends on what it does, and where it is
// accounted on the repository.
func TestFactory_bounds(t *testing.T) {
	t.Parallel()
	var keys []string
	f := &Factory{o: Options{Bounds: Bounds{Memory: 9, CPU: time.Second, PushCPU: time.Minute, Place: func(key string) (*process.Cgroup, error) {
		keys = append(keys, key)
		return &process.Cgroup{}, nil
	}}}}
	repo := &Repo{Name: "default/a.git", Dir: "/r/a.git"}
	for _, tc := range []struct {
		spec Spec
		repo *Repo
		cpu  time.Duration
		key  string
	}{
		{Spec{Name: "log"}, repo, time.Second, "default/a.git"},
		{Spec{Name: "receive-pack"}, repo, time.Minute, "default/a.git"},
		{Spec{Name: "upload-pack"}, repo, 0, "default/a.git"},
		{Spec{Name: "pack-refs"}, repo, 0, "default/a.git"},
		{Spec{Name: "read-tree", Background: true}, repo, 0, "default/a.git"},
		{Spec{Name: "rev-list"}, repo, time.Second, "default/a.git"},
		{Spec{Name: "rev-list", Flags: []string{"--stdin", "--objects"}}, repo, 0, "default/a.git"},
		{Spec{Name: "version"}, nil, time.Second, "--x/version"},
	} {
		o := process.Options{Args: []string{"--x", tc.spec.Name}}
		if err := f.bound(&o, tc.repo, tc.spec); err != nil || o.Memory != 9 || o.CPU != tc.cpu || o.Cgroup == nil {
			t.Errorf("%s: %+v, %v", tc.spec.Name, o, err)
		}
		if got := keys[len(keys)-1]; got != tc.key {
			t.Errorf("%s: key %q", tc.spec.Name, got)
		}
	}
	f.o.Bounds.Place = func(string) (*process.Cgroup, error) { return nil, errors.New("no group") }
	if err := f.bound(&process.Options{}, repo, Spec{Name: "log"}); err == nil || !strings.Contains(err.Error(), "no group") {
		t.Errorf("err = %v", err)
	}
}
