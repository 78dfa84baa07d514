package supervise

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// drain is how long output of a process is still read after its end; children of
// its own may hold the pipe open.
const drain = 300 * time.Millisecond

// process is one running operating system process.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	// ended is closed after err was set.
	ended chan struct{}
	err   error
}

// launch starts spec's program. The family learns the pid before the process can
// be mistaken for a leftover.
func launch(spec Spec, st *starter, fam *family) (*process, error) {
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:gosec,noctx // stopped by signal, in order, not by a context
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.Stdout, cmd.Stderr = spec.Output, spec.Output
	cmd.WaitDelay = drain
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: spec.Orphan, Credential: spec.User}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	err := fam.add(func() (int, error) {
		p.started = time.Now()
		if err := st.do(cmd.Start); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	go p.wait(fam)
	return p, nil
}

func (p *process) wait(fam *family) {
	err := p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	p.err = err
	fam.remove(p.pid())
	close(p.ended)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the whole process group at once.
func (p *process) kill() {
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // gone already is what we want
}

// stop asks the process to end, kills its group when grace has passed or hurry is
// closed, and returns when it is gone. It reports whether force was needed.
func (p *process) stop(sig syscall.Signal, grace time.Duration, hurry <-chan struct{}) (forced bool) {
	_ = p.cmd.Process.Signal(sig)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		forced = true
	case <-hurry:
		forced = true
	}
	p.kill() // also for members that outlived their leader
	<-p.ended
	return forced
}

// exitText says how a process ended, for people.
func exitText(err error) error {
	if err == nil {
		return errors.New("ended by itself, exit status 0")
	}
	return fmt.Errorf("ended by itself, %w", err)
}
