package meter

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "42 (a) (b) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5 1000 10\n"
	want := Proc{PID: 42, Parent: 7, Name: "a) (b", Self: 330 * time.Millisecond, Children: 770 * time.Millisecond}
	got, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, bad := range []string{"", "42", "42 (a) S 7", "x (a) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave no error", bad)
		}
	}
}

func TestKib(t *testing.T) {
	t.Parallel()
	status := []byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t     12 kB\n")
	if got := kib(status, "VmHWM:"); got != 2<<20 {
		t.Errorf("VmHWM is %d", got)
	}
	if got := kib(status, "RssAnon:"); got != 0 {
		t.Errorf("RssAnon is %d", got)
	}
}

// TestWatch counts what a grandchild does that has ended, and its memory.
func TestWatch(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read go; (i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); echo done; read end")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := Start(context.WithoutCancel(t.Context()), func() time.Duration { return CPU(cmd.Process.Pid) }, cmd.Process.Pid)
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	cpu, peak := w.Stop()
	if cpu <= 0 || peak["sh"] < 100<<10 {
		t.Errorf("used %v of the processor and %v of memory", cpu, peak)
	}
	if by := w.By(cpu); by[Ended] <= 0 || by[Ended]+by["sh"] != cpu {
		t.Errorf("%v by program: %v", cpu, by)
	}
	_ = in.Close()
	_ = cmd.Wait()
}

// TestGroup counts a process that nobody waits for.
func TestGroup(t *testing.T) {
	g, err := NewGroup("test")
	if err != nil {
		t.Skipf("control groups cannot be made here: %v", err)
	}
	before, err := g.CPU()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	err = g.Start(func() error {
		out, err = exec.CommandContext(t.Context(), "sh", "-c", "trap '' CHLD; (i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); echo done").Output()
		return err
	})
	if err != nil || string(out) != "done\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if after, err := g.CPU(); err != nil || after-before < 10*time.Millisecond {
		t.Errorf("it used %v, %v", after-before, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
