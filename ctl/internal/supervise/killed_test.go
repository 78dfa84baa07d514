package supervise_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/ctl/internal/proc"
	"gitsplit/ctl/internal/supervise"
)

// startSupervisor runs the part "supervisor" and returns it with the processes
// below it, by what they are.
func startSupervisor(t *testing.T) (*exec.Cmd, map[string]int) {
	t.Helper()
	out := lines(make(chan string, 100))
	cmd := helper("supervisor")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, os.Stderr, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	pids := map[string]int{}
	t.Cleanup(func() {
		if pids["child"] > 1 {
			_ = syscall.Kill(pids["child"], syscall.SIGKILL)
		}
	})
	for len(pids) < 4 {
		pid, err := strconv.Atoi(out.await(t, "up"))
		if err != nil {
			t.Fatal(err)
		}
		pids[role(t, cmd.Process.Pid, pid)] = pid
	}
	return cmd, pids
}

// role tells the processes of the helper supervisor apart by their environment
// and their parent.
func role(t *testing.T, supervisor, pid int) string {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid)
	env, err := os.ReadFile(dir + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "PPid:\t"+strconv.Itoa(supervisor)+"\n") {
		return "child"
	}
	for item := range strings.SplitSeq(string(env), "\x00") {
		if part, ok := strings.CutPrefix(item, helperVar+"="); ok && part != "supervisor" {
			return part
		}
	}
	t.Fatalf("process %d plays no part", pid)
	return ""
}

func TestSupervisor_asAProcess(t *testing.T) {
	t.Parallel()
	cmd, pids := startSupervisor(t)
	if err := syscall.Kill(pids["stubborn"], syscall.SIGKILL); err != nil { // or it would use its whole grace
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, cmd.Process.Pid)
	for what, pid := range pids {
		if _, err := proc.StartTicks(pid); err == nil {
			t.Errorf("%s outlived its supervisor", what)
		}
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	out := lines(make(chan string, 100))
	cmd := helper("stubborn")
	cmd.Stdout, cmd.SysProcAttr = out, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	out.await(t, "up")
	ticks, err := proc.StartTicks(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := supervise.Leftover{Name: "another process by now", PID: os.Getpid(), StartTicks: 1}
	mine := supervise.Leftover{Name: "stubborn", PID: cmd.Process.Pid, StartTicks: ticks}
	forced := supervise.Clear(t.Context(), []supervise.Leftover{other, mine}, 100*time.Millisecond)
	if len(forced) != 1 || forced[0] != mine {
		t.Errorf("Clear() = %v, want only %v", forced, mine)
	}
	<-ended
}
