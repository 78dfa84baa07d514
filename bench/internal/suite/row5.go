package suite

import (
	"context"
	"fmt"
	"os/exec"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// checked is git alone with the checks of objects that gitaly makes at each push.
const checked = "file:// with fsckObjects"

// bigPush is row 5.
func (s *Suite) bigPush(ctx context.Context, sec *report.Section) error {
	t, peaks, err := s.pushOf(ctx, sec, fixture.Large(s.Quick))
	if err != nil {
		return err
	}
	judge(sec, "push of large", t, peaks, "file://")
	sec.Note("gitaly checks every object that comes (`fsckObjects`), which git alone does not by default: `%s` shows what that costs.", checked)
	if s.Local != "" {
		if _, _, err := s.pushOf(ctx, sec, fixture.Spec{Name: local}); err != nil {
			return err
		}
	}
	return s.note(sec, "openssh", "gitolite", "git-http-backend")
}

// pushOf measures pushes of a whole repository, each to a new one.
func (s *Suite) pushOf(ctx context.Context, sec *report.Section, spec fixture.Spec) (t report.Table, peaks map[string]int64, err error) {
	r, err := s.repo(ctx, spec)
	if err != nil {
		return t, nil, err
	}
	strict := s.file
	strict.Name = checked
	remotes := append(s.everybody(), strict)
	rounds := s.rounds(2, 1)
	name := func(remote peer.Remote, round int) string {
		return fmt.Sprintf("%s-%d", repoFor("big-"+spec.Name, remote), round)
	}
	for _, remote := range remotes {
		for round := range rounds {
			if err := remote.Server.Empty(ctx, name(remote, round)); err != nil {
				return t, nil, fmt.Errorf("%s: %w", remote.Name, err)
			}
			if remote.Name != checked {
				continue
			}
			cmd := s.site.Git(ctx, remote, "-C", remote.Dir(name(remote, round)), "config", "receive.fsckObjects", "true")
			if out, err := cmd.CombinedOutput(); err != nil {
				return t, nil, failure(cmd, out, err)
			}
		}
	}
	t, peaks = s.heavy(ctx, sec, "`git push` of the repository "+spec.Name, rounds, remotes, func(ctx context.Context, remote peer.Remote, wrap string, round int) *exec.Cmd {
		args := []string{"-C", r.Dir, "push", "--quiet"}
		if wrap != "" {
			args = append(args, "--receive-pack="+wrap+" git-receive-pack")
		}
		return s.site.Git(ctx, remote, append(args, remote.URL(name(remote, round)), r.Tip+":"+main)...)
	})
	return t, peaks, nil
}
