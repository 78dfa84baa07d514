package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroup is the control group that accounts for a program.
type Cgroup struct {
	Dir   *os.File // where it starts; nil if it cannot be started there
	Procs []string // else the files that move it there
}

// StartsIn reports whether programs can be started right in a control group, which
// kernels before 5.7 and some containers refuse. Nothing runs for it: what is started
// does not exist, and that is found out only in the group.
func StartsIn(dir *os.File) bool {
	cmd := exec.Command("/proc/self/none") //nolint:noctx // it never runs
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return errors.Is(cmd.Start(), fs.ErrNotExist)
}

// start starts the program within its bounds. The first moments before they hold are
// those in which git reads its arguments.
func (p *Process) start(o Options) error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if err := p.bound(o); err != nil {
		p.signal(syscall.SIGKILL)
		return errors.Join(err, p.reap())
	}
	return nil
}

// bound puts the program into its control group and under its limits. One that has
// ended already needs neither.
func (p *Process) bound(o Options) error {
	if o.Cgroup != nil {
		for _, procs := range o.Cgroup.Procs {
			err := os.WriteFile(procs, []byte(strconv.Itoa(p.Pid())), 0o600)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("move into control group: %w", err)
			}
		}
	}
	if o.Memory > 0 {
		if err := p.limit(unix.RLIMIT_DATA, o.Memory, o.Memory); err != nil {
			return err
		}
	}
	if o.CPU > 0 { // SIGXCPU first, so that what is cleaned up at the end is cleaned up
		seconds := max(1, int64(o.CPU/time.Second))
		return p.limit(unix.RLIMIT_CPU, seconds, seconds+killAfter)
	}
	return nil
}

// killAfter is how many seconds of CPU time are between SIGXCPU and SIGKILL.
const killAfter = 5

func (p *Process) limit(resource int, soft, hard int64) error {
	err := unix.Prlimit(p.Pid(), resource, &unix.Rlimit{Cur: uint64(soft), Max: uint64(hard)}, nil) //nolint:gosec // checked to be positive
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("limit process: %w", err)
	}
	return nil
}
