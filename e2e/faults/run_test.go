package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/fault"
)

// job is one command of a client in a lane: a push of main and side, a clone, or a
// merge, which a user asks gitaly for without git.
type job struct {
	lane  *lane
	point string // where it is held; "" is nowhere
	clone bool
	merge bool
	// args replace the push of main and side; wants are then the references as they
	// shall be, "" for a deleted one.
	args  []string
	wants refs
	maybe bool // it need not come to its point

	before refs // on the server
	stop   *stop
	cmd    *exec.Cmd          // nil for a merge
	leave  context.CancelFunc // ends a merge
	target string             // of a clone
	out    bytes.Buffer
	exited chan struct{}
	code   int
	hung   bool // until it was killed
	giveUp context.CancelFunc
}

const clientTimeout = 90 * time.Second // from where it may go on; a client that hangs is a finding

// start begins the command; a point that it is to stop at is armed before.
func (j *job) start(ctx context.Context) error {
	l := j.lane
	var err error
	if j.before, err = tips(ctx, l.repo); err != nil {
		return err
	}
	args := append([]string{"push", "--porcelain", l.remote}, "main", "side")
	switch {
	case j.clone:
		j.target, j.wants = filepath.Join(l.site.dir, "tmp", "clone-"+l.name), j.before
		args = []string{"clone", "-q", "--no-checkout", l.remote, j.target}
	case j.merge: // moves nothing until it is known to what
		j.wants = refs{"refs/heads/side": j.before["refs/heads/side"]}
	case j.args != nil:
		args = append([]string{"push", "--porcelain", l.remote}, j.args...)
	default:
		if j.wants, err = tips(ctx, l.work); err != nil {
			return err
		}
	}
	if p, skip := j.place(); p.point != "" {
		j.stop = l.site.watch.hold(p, skip)
	}
	ctx, j.giveUp = context.WithCancel(ctx)
	j.exited = make(chan struct{})
	if j.merge {
		return j.startMerge(ctx)
	}
	j.cmd = l.cmd(ctx, l.work, args...)
	j.cmd.Stdout, j.cmd.Stderr, j.cmd.WaitDelay = &j.out, &j.out, 10*time.Second
	if err := j.cmd.Start(); err != nil {
		j.giveUp()
		return err
	}
	go func() {
		defer j.giveUp()
		_ = j.cmd.Wait()
		j.hung = ctx.Err() != nil
		j.code = j.cmd.ProcessState.ExitCode()
		close(j.exited)
	}()
	return nil
}

// place is where the job is to be held, and how often it comes by before.
func (j *job) place() (p place, skip int) {
	p = place{j.point, j.lane.subject()}
	switch {
	case j.point == fault.AfterKeyLookup && j.lane.transport == "ssh":
		p.subject = fmt.Sprintf("key-%d", j.lane.keyID)
	case j.point == fault.BeforeRef:
		skip = 1 // between the first and the second
	}
	return p, skip
}

// errEarly is the error of a job that did not come to its point.
var errEarly = errors.New("ended before it came to its point")

// again starts a job that has ended once more, with other commits.
func (j *job) again(ctx context.Context) error {
	j.release()
	*j = job{lane: j.lane, point: j.point, clone: j.clone, merge: j.merge}
	if !j.clone {
		if err := j.lane.commit(ctx, midPackSize); err != nil {
			return err
		}
	}
	return j.start(ctx)
}

// held waits until the job is at its point.
func (j *job) held(ctx context.Context) error {
	if j.stop == nil {
		return nil
	}
	select {
	case <-j.stop.reached:
		return nil
	case <-j.exited:
		if j.maybe {
			return nil
		}
		return fmt.Errorf("%w: %s:\n%s", errEarly, j.point, j.out.String())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release lets the job go on.
func (j *job) release() {
	if p, _ := j.place(); p.point != "" {
		j.lane.site.watch.forget(p)
	}
}

// told is what the client was told of each reference: "" for nothing.
func (j *job) told() map[string]string {
	said := map[string]string{}
	for line := range strings.Lines(j.out.String()) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(fields) < 3 || len(fields[0]) != 1 {
			continue
		}
		_, ref, _ := strings.Cut(fields[1], ":")
		switch {
		case strings.IndexByte(" +-*=", fields[0][0]) >= 0:
			said[ref] = "ok"
		case strings.Contains(fields[2], "[remote rejected]"), strings.Contains(fields[2], "[rejected]"):
			said[ref] = "rejected"
		}
	}
	return said
}

// truth compares what the client was told with what is so.
func (j *job) truth(ctx context.Context) []string {
	now, err := tips(ctx, j.lane.repo)
	if err != nil {
		return []string{err.Error()}
	}
	if j.clone {
		defer os.RemoveAll(j.target) //nolint:errcheck // best effort
		return append(untouched(j.before, now, nil), j.cloned(ctx)...)
	}
	lies := untouched(j.before, now, j.wants)
	told := j.told()
	for ref, want := range j.wants {
		got, moved := now[ref], now[ref] != j.before[ref]
		switch {
		case moved && got != want:
			lies = append(lies, fmt.Sprintf("%s is %q, neither %q nor %q", ref, got, j.before[ref], want))
		case told[ref] == "ok" && got != want:
			lies = append(lies, fmt.Sprintf("the client was told that %s is %q, it is %q", ref, want, got))
		case told[ref] == "rejected" && moved:
			lies = append(lies, fmt.Sprintf("the client was told that %s is refused, it is %q", ref, got))
		case j.code == 0 && got != want:
			lies = append(lies, fmt.Sprintf("git push ended well, but %s is %q, not %q", ref, got, want))
		}
	}
	if len(lies) > 0 {
		lies = append(lies, fmt.Sprintf("exit code %d, output:\n%s", j.code, j.out.String()))
	}
	return lies
}

// untouched names the references besides those of a push that are not what they were.
func untouched(before, now, pushed refs) (lies []string) {
	all := maps.Clone(before)
	maps.Copy(all, now)
	for ref := range all {
		if _, ok := pushed[ref]; !ok && before[ref] != now[ref] {
			lies = append(lies, fmt.Sprintf("%s was not pushed and changed from %q to %q", ref, before[ref], now[ref]))
		}
	}
	return lies
}

// cloned looks at a clone that ended well.
func (j *job) cloned(ctx context.Context) []string {
	if j.code != 0 {
		return nil
	}
	if _, err := j.lane.git(ctx, j.target, "fsck", "--full"); err != nil {
		return []string{"clone: " + err.Error()}
	}
	head, err := j.lane.git(ctx, j.target, "rev-parse", "refs/remotes/origin/main")
	if err != nil || head != j.wants["refs/heads/main"] {
		return []string{fmt.Sprintf("the clone's main is %q (%v), want %q", head, err, j.wants["refs/heads/main"])}
	}
	return nil
}
