package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/trace"
)

// processes counts what gitaly starts for a small push and for a clone, and git for the
// same push on a local path without hooks.
func (s *Suite) processes(ctx context.Context, sec *report.Section) {
	const target = "at most four processes started per push beyond git's own"
	ours, theirs, clone, err := s.traced(ctx)
	if err != nil {
		sec.Missing(target, err.Error())
		return
	}
	sec.AtMost(true, target, float64(len(ours)-len(theirs)), 4, "")
	sec.Note("programs started for a push: %s; by git alone: %s; for a clone: %s", trace.Count(ours), trace.Count(theirs), trace.Count(clone))
}

func (s *Suite) traced(ctx context.Context) (ours, theirs, clone []string, err error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, nil, nil, err
	}
	r, err := s.repo(ctx, fixture.Small())
	if err != nil {
		return nil, nil, nil, err
	}
	pushes, err := fixture.Chain(ctx, r, 2)
	if err != nil {
		return nil, nil, nil, err
	}
	web := plainWeb(s.auth)[0]
	if err := errors.Join(s.place(ctx, "traced", fixture.Small(), web, s.file), os.RemoveAll(filepath.Join(s.file.Dir("traced"), "hooks"))); err != nil {
		return nil, nil, nil, err
	}
	update := func(i int) gitwire.Push {
		return gitwire.Move(main, pushes[i].Old, pushes[i].New, pushes[i].Pack)
	}
	if err := web.Web("traced").Send(ctx, update(0)); err != nil { // what is started once and kept
		return nil, nil, nil, err
	}
	settle(ctx, s.rest())
	gitaly := s.ours.Processes()["gitaly"]
	if ours, err = s.during(ctx, gitaly, "push", func() error { return web.Web("traced").Send(ctx, update(1)) }); err != nil {
		return nil, nil, nil, err
	}
	clone, err = s.during(ctx, gitaly, "clone", func() error {
		_, err := web.Web("traced").Fetch(ctx, gitwire.Want{Ref: main})
		return err
	})
	if err != nil {
		return nil, nil, nil, err
	}
	theirs, err = s.alone(ctx, update(0))
	return ours, theirs, clone, err
}

// during lists what a process and its children start while do runs, and in a second
// after it: jobs of the push belong to it.
func (s *Suite) during(ctx context.Context, pid int, what string, do func() error) ([]string, error) {
	t, err := trace.Attach(ctx, s.tracePath(what), pid)
	if err != nil {
		return nil, err
	}
	err = do()
	settle(ctx, s.rest()/3)
	programs, bad := t.Stop()
	return programs, errors.Join(err, bad)
}

// alone pushes to git on a local path.
func (s *Suite) alone(ctx context.Context, u gitwire.Push) ([]string, error) {
	file := s.tracePath("git-push")
	p, err := gitwire.Start(ctx, "strace", "--follow-forks", "--trace=execve", "--signal=none", "--string-limit=400", "--output="+file, "git", "receive-pack", s.file.Dir("traced"))
	if err != nil {
		return nil, err
	}
	if err := gitwire.Send(p, u); err != nil {
		return nil, errors.Join(err, p.CloseWrite())
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file) //nolint:gosec // our own
	return trace.Programs(string(raw)), err
}

// tracePath is where a trace goes: beside the result when profiles are wanted.
func (s *Suite) tracePath(what string) string {
	if s.Profile < 3 {
		return filepath.Join(s.site.Dir, fmt.Sprintf("%s.strace", what))
	}
	dir := filepath.Join(s.Out, "profiles")
	_ = os.MkdirAll(dir, 0o750) // strace says if it cannot write there
	return filepath.Join(dir, what+".strace")
}
