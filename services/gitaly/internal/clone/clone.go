// Package clone makes repositories from others: forks, copies of what answers at a
// URL, bundles, snapshots. Each appears whole or not at all, since storage.Create
// moves it to its place when it is complete.
package clone

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// Service makes repositories. It is safe for concurrent use.
type Service struct {
	git     remote.Git
	remotes *remote.Service
	// maxSnapshot bounds the files of a snapshot, in bytes.
	maxSnapshot int64
}

// New returns a service. The files of a snapshot may have maxSnapshot bytes in all.
func New(git remote.Git, remotes *remote.Service, maxSnapshot int64) *Service {
	return &Service{git: git, remotes: remotes, maxSnapshot: maxSnapshot}
}

// Options says what of another repository the new one takes.
type Options struct {
	// Branch is the full name of the only branch to take; tags of its commits come
	// with it. "" takes all branches and tags.
	Branch string
	// Everything takes all references.
	Everything bool
	// Trusted says that the other belongs to this installation.
	Trusted bool
	// Replace puts the new repository into the place of one that is there, once it is
	// complete.
	Replace bool
}

// everything is the refspec of a mirror.
const everything = "+refs/*:refs/*"

// From makes the repository from another one. Its HEAD means the branch that the
// other's does. A place that is taken is errs.Exists.
func (s *Service) From(ctx context.Context, repo *storage.Repo, from remote.Remote, o Options) error {
	facts, err := s.remotes.Describe(ctx, from)
	if err != nil {
		return err
	}
	fetch := remote.FetchOptions{Refspecs: []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}, Trusted: o.Trusted}
	switch {
	case o.Everything:
		fetch.Refspecs = []string{everything}
	case o.Branch != "":
		facts.Head, fetch.Tags = o.Branch, remote.SomeTags
		fetch.Refspecs = []string{"+" + o.Branch + ":" + o.Branch}
	}
	return s.create(ctx, repo, facts, o.Replace, func(ctx context.Context, dir *gitcmd.Repo) error {
		return s.remotes.Fetch(ctx, dir, from, fetch)
	})
}

// create makes a repository with the given HEAD and what fill puts into it.
func (s *Service) create(ctx context.Context, repo *storage.Repo, facts remote.Facts, replace bool, fill func(context.Context, *gitcmd.Repo) error) error {
	o := storage.CreateOptions{SHA256: facts.SHA256, Replace: replace, Fill: func(ctx context.Context, dir *gitcmd.Repo) error {
		if err := fill(ctx, dir); err != nil {
			return err
		}
		return s.git.Run(ctx, dir, gitcmd.Spec{Name: "pack-refs", Flags: []string{"--all"}})
	}}
	if branch, ok := strings.CutPrefix(facts.Head, ref.Branches); ok && ref.Valid(facts.Head) {
		o.Branch = branch
	}
	return storage.Create(ctx, s.git, repo, o)
}

// Source copies a commit of another repository to a reference of this one. It
// reports whether the commit could be had. A reference that is not what it must be, old, is errs.Conflict; "" is anything.
func (s *Service) Source(ctx context.Context, repo *storage.Repo, from remote.Remote, source, target, old string) (bool, error) {
	if err := s.fetchObject(ctx, repo, from, source); err != nil {
		if errs.KindOf(err) == errs.FailedPrecondition {
			return false, nil //nolint:nilerr // an answer: it cannot be had
		}
		return false, err
	}
	return true, ref.Update(ctx, s.git, &repo.Repo, gitcmd.Spec{NoHooks: true}, ref.Change{Name: target, New: source, Old: old})
}

// fetchObject brings a commit and all that it needs, without a reference to it.
func (s *Service) fetchObject(ctx context.Context, repo *storage.Repo, from remote.Remote, oid string) error {
	return s.remotes.Fetch(ctx, &repo.Repo, from, remote.FetchOptions{Refspecs: []string{oid}, Trusted: true})
}
