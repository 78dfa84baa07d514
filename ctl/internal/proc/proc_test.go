package proc

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestSelf(t *testing.T) {
	t.Parallel()
	pid := os.Getpid()
	ticks, err := StartTicks(pid)
	if err != nil || ticks == 0 || !Alive(pid, ticks) || Alive(pid, ticks+1) {
		t.Fatalf("StartTicks() = %d, %v; Alive %v, with another start time %v", ticks, err, Alive(pid, ticks), Alive(pid, ticks+1))
	}
	if size, err := Resident(pid); err != nil || size < 1<<20 {
		t.Errorf("Resident() = %d, %v, want some MiB", size, err)
	}
	want, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := WorkDir(pid); err != nil || dir != want {
		t.Errorf("WorkDir() = %q, %v, want %q", dir, err, want)
	}
}

func TestAlive_ended(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ticks, err := StartTicks(pid)
	if err != nil || !Alive(pid, ticks) {
		t.Fatalf("a running process: StartTicks error %v, not alive", err)
	}
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if Alive(pid, ticks) {
		t.Error("an ended process is reported alive")
	}
	if _, err := StartTicks(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("StartTicks() of an ended process: %v, want os.ErrNotExist", err)
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("12 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"))
	f.Add([]byte("12 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"))
	f.Add([]byte(""))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseStart(text); err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("parseStart(%q): %v, want ErrFormat", text, err)
		}
	})
}

func TestParseStart_oddName(t *testing.T) {
	t.Parallel()
	ticks, err := parseStart([]byte("12 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"))
	if err != nil || ticks != 4711 {
		t.Errorf("parseStart() = %d, %v, want 4711", ticks, err)
	}
}
