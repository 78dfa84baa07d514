// Package replicate makes a repository equal to one on another storage, here or at
// another gitaly: objects, references, HEAD, custom hooks. What lies in the
// configuration is made anew, so that nothing foreign gets into it.
package replicate

import (
	"context"
	"errors"
	"io"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/customhook"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// Service replicates. It is safe for concurrent use, for one repository by one
// caller at a time.
type Service struct {
	git     remote.Git
	remotes *remote.Service
	clones  *clone.Service
}

// New returns a service.
func New(git remote.Git, remotes *remote.Service, clones *clone.Service) *Service {
	return &Service{git: git, remotes: remotes, clones: clones}
}

// Replicate makes repo equal to the source, creating it if it is not there or
// damaged. No source is errs.NotFound. What fails half-way is completed by the next
// call.
func (s *Service) Replicate(ctx context.Context, repo *storage.Repo, source remote.Repository) error {
	there, err := source.Exists(ctx)
	if err != nil {
		return err
	}
	if !there {
		return errs.New(errs.NotFound, "invalid source repository")
	}
	valid, err := repo.Exists()
	switch {
	case err != nil:
		return err
	case valid:
		err = s.update(ctx, repo, source)
	default:
		err = s.create(ctx, repo, source)
	}
	if err != nil {
		return err
	}
	return copyHooks(ctx, repo, source)
}

// create replaces what is at the place and is no repository, once the copy is complete:
// what is damaged may be all there is if the source turns out to be no better.
func (s *Service) create(ctx context.Context, repo *storage.Repo, source remote.Repository) error {
	return s.clones.From(ctx, repo, source, clone.Options{Everything: true, Trusted: true, Replace: true})
}

func (s *Service) update(ctx context.Context, repo *storage.Repo, source remote.Repository) error {
	facts, err := s.remotes.Describe(ctx, source)
	if err != nil {
		return err
	}
	format, err := repo.ObjectFormat()
	if err != nil {
		return err
	}
	if facts.SHA256 != (format == "sha256") {
		return errs.New(errs.FailedPrecondition, "repository and source have different object formats")
	}
	began := time.Now()
	err = s.remotes.Fetch(ctx, &repo.Repo, source, remote.FetchOptions{Refspecs: []string{"+refs/*:refs/*"}, Prune: true, Trusted: true})
	if err != nil {
		return err
	}
	head, err := ref.Head(ctx, s.git, &repo.Repo)
	if err == nil && facts.Head != "" && facts.Head != head {
		err = ref.SetHead(ctx, s.git, &repo.Repo, facts.Head)
	}
	return errors.Join(err, pack.SyncChanged(repo.Dir, began))
}

// copyHooks makes the custom hooks those of the source.
func copyHooks(ctx context.Context, repo *storage.Repo, source remote.Repository) error {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.CloseWithError(source.Hooks(ctx, w))
	}()
	err := customhook.Set(repo, r)
	cancel()
	_ = r.Close() // the sender ends
	<-sent
	return err
}
