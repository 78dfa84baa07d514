package remote

import (
	"context"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Prune removes the references that a refspec maps to and the remote no longer has.
func (s *Service) Prune(ctx context.Context, repo *gitcmd.Repo, r Remote, refspec string) error {
	spec := gitcmd.Spec{Name: "remote prune", NoHooks: true, Config: []gitcmd.Config{{Key: "remote.origin.fetch", Value: refspec}}}
	return s.run(ctx, r, spec, func(ctx context.Context, spec gitcmd.Spec) error {
		spec.Config = append(spec.Config, gitcmd.Config{Key: "remote.origin.url", Value: spec.Args[0]})
		spec.Args = []string{"origin"}
		return s.git.Run(ctx, repo, spec)
	})
}
