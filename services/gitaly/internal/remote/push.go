package remote

import (
	"bytes"
	"context"
	"strings"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Rejected is a reference that a push did not move.
type Rejected struct {
	Name string // full
	// Diverged says that the remote has something there that we have not; otherwise
	// the remote itself refused, for Reason.
	Diverged bool
	Reason   string
}

// Push moves references of a remote, each for itself. A refspec is a full name, or
// a full name behind a colon to delete it. force moves them also where that loses
// what the remote has.
func (s *Service) Push(ctx context.Context, repo *gitcmd.Repo, r Remote, refspecs []string, force bool) ([]Rejected, error) {
	spec := gitcmd.Spec{Name: "push", Flags: []string{"--quiet", "--porcelain"}, Args: refspecs}
	if force {
		spec.Flags = append(spec.Flags, "--force")
	}
	var rejected []Rejected
	err := s.run(ctx, r, spec, func(ctx context.Context, spec gitcmd.Spec) error {
		return s.git.Lines(ctx, repo, spec, func(line []byte) error {
			if rest, ok := bytes.CutPrefix(line, []byte("!\t")); ok {
				rejected = append(rejected, parseRejected(string(rest)))
			}
			return nil
		})
	})
	if gitcmd.Exited(err, 1) && len(rejected) > 0 {
		err = nil
	}
	return rejected, err
}

// parseRejected reads "<from>:<to> TAB [rejected] (<why>)" (git-push, "OUTPUT").
func parseRejected(line string) Rejected {
	names, summary, _ := strings.Cut(line, "\t")
	_, name, _ := strings.Cut(names, ":")
	return Rejected{Name: name, Diverged: strings.HasPrefix(summary, "[rejected]"), Reason: summary}
}
