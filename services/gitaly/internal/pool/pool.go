// Package pool keeps object pools: repositories below @pools from which the members
// of a fork network borrow objects (wire/gitaly.md §14).
//
// A pool knows nothing of its members. So nothing ever leaves it: references that a
// member no longer has are dropped, but what they held is kept by references of its
// own. A member points at its pool by a path that is relative to its own objects.
package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// Keeper is the part of housekeeping that pools need.
type Keeper interface {
	// Hold keeps housekeeping out of a repository until release is called.
	Hold(repo *storage.Repo) (release func(), err error)
	// Optimize packs a repository anew as far as the strategy asks for.
	Optimize(ctx context.Context, repo *storage.Repo, s housekeeping.Strategy) error
}

// Writers knows the git processes that are at work in a repository.
type Writers interface {
	// Outlive waits for the end of those that are there now.
	Outlive(ctx context.Context, repoDir string) error
}

// Options is what a Service needs.
type Options struct {
	Git     remote.Git
	Remotes *remote.Service
	Keeper  Keeper
	Writers Writers
	Log     *slog.Logger
}

// Service keeps pools. It is safe for concurrent use.
type Service struct{ o Options }

// New returns a service.
func New(o Options) *Service { return &Service{o: o} }

// What members have, as the pool names it.
const (
	members  = "refs/remotes/origin/"
	refspec  = "+refs/*:" + members + "*"
	dangling = "refs/dangling/"
)

// Create makes a pool with everything that origin has. A place that is taken is
// errs.Exists.
func (s *Service) Create(ctx context.Context, pool, origin *storage.Repo) error {
	format, err := origin.ObjectFormat()
	if err != nil {
		return err
	}
	return storage.Create(ctx, s.o.Git, pool, storage.CreateOptions{
		SHA256: format == "sha256",
		Fill: func(ctx context.Context, dir *gitcmd.Repo) error {
			if err := s.fetch(ctx, dir, origin); err != nil {
				return err
			}
			return s.o.Git.Run(ctx, dir, gitcmd.Spec{Name: "pack-refs", Flags: []string{"--all"}})
		},
	})
}

func (s *Service) fetch(ctx context.Context, pool *gitcmd.Repo, origin *storage.Repo) error {
	return s.o.Remotes.Fetch(ctx, pool, remote.Local{Repo: origin, Git: s.o.Git},
		remote.FetchOptions{Refspecs: []string{refspec}, Atomic: true, Trusted: true})
}

// Update brings a pool up to date with a member and tidies it. Nothing that was in
// it is lost.
func (s *Service) Update(ctx context.Context, pool, member *storage.Repo) error {
	began := time.Now()
	// What the member removed goes first and apart: a new reference may need the
	// name of an old one for its directory.
	if err := s.o.Remotes.Prune(ctx, &pool.Repo, remote.Local{Repo: member, Git: s.o.Git}, refspec); err != nil {
		return err
	}
	if err := s.fetch(ctx, &pool.Repo, member); err != nil {
		return err
	}
	if err := s.rescue(ctx, &pool.Repo); err != nil {
		return err
	}
	if err := pack.SyncChanged(pool.Dir, began); err != nil {
		return err
	}
	if err := s.o.Keeper.Optimize(ctx, pool, housekeeping.Heuristical); err != nil && errs.KindOf(err) != errs.Exists { // it is being done already
		return err
	}
	return nil
}

// rescue gives every object that no reference leads to a reference of its own.
func (s *Service) rescue(ctx context.Context, pool *gitcmd.Repo) error {
	var tx *ref.Transaction
	spec := gitcmd.Spec{Name: "fsck", Flags: []string{"--connectivity-only", "--dangling", "--no-progress"}}
	err := s.o.Git.Lines(ctx, pool, spec, func(line []byte) error {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "dangling" {
			return nil
		}
		if tx == nil {
			var err error
			if tx, err = ref.Begin(ctx, s.o.Git, pool, gitcmd.Spec{NoHooks: true}); err != nil {
				return err
			}
		}
		oid := string(fields[2])
		return tx.Add(ref.Change{Name: dangling + oid, New: oid, Old: ref.ZeroOID(oid)})
	})
	if tx == nil {
		return err
	}
	if err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit()
}

// Link makes a repository a member of a pool. A member of another one is
// errs.FailedPrecondition.
func (s *Service) Link(repo, pool *storage.Repo) error {
	if err := sameKind(repo, pool); err != nil {
		return err
	}
	release, err := s.hold(repo)
	if err != nil {
		return err
	}
	defer release()
	entry, err := repo.ObjectsFrom(pool)
	if err != nil {
		return err
	}
	present, err := repo.Borrows()
	if err != nil {
		return err
	}
	for _, p := range present {
		if repo.Lender(p) != pool.RelativePath {
			return errs.Newf(errs.FailedPrecondition, "unexpected alternates content: %q", p)
		}
	}
	if len(present) != 1 || present[0] != entry {
		if err := repo.Borrow(entry); err != nil {
			return err
		}
	}
	// git complains to users about a second bitmap when it reads both.
	has, err := pool.HasBitmap()
	if err != nil || !has {
		return err
	}
	return repo.RemoveBitmaps()
}

// sameKind refuses pairs that could never work.
func sameKind(repo, pool *storage.Repo) error {
	if repo.Storage != pool.Storage {
		return errs.New(errs.Invalid, "repository has different storage than object pool")
	}
	if repo.IsPool() {
		return errs.New(errs.Invalid, "an object pool cannot be a member of another")
	}
	ours, err := repo.ObjectFormat()
	if err != nil {
		return err
	}
	theirs, err := pool.ObjectFormat()
	if err == nil && ours != theirs {
		return errs.New(errs.FailedPrecondition, "repository and object pool have different object formats")
	}
	return err
}

// hold keeps housekeeping out, and takes up what somebody left who died while the
// repository stood alone.
func (s *Service) hold(repo *storage.Repo) (func(), error) {
	release, err := s.o.Keeper.Hold(repo)
	if errs.KindOf(err) == errs.Exists {
		return nil, errs.Wrap(errs.Conflict, "housekeeping is at work in the repository", err)
	}
	if err != nil {
		return nil, err
	}
	if err := repo.Resume(); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// Of returns the place of the pool that a repository borrows from, relative to the
// storage; "" for none.
func (s *Service) Of(ctx context.Context, repo *storage.Repo) (string, error) {
	entries, err := repo.Borrows()
	if err != nil || len(entries) == 0 {
		return "", err
	}
	place := storage.Repo{Storage: repo.Storage, RelativePath: repo.Lender(entries[0])}
	if !place.IsPool() {
		s.o.Log.WarnContext(ctx, "repository borrows from what is no pool", slog.String("repository", repo.RelativePath), slog.String("alternate", entries[0]))
		return "", nil
	}
	return place.RelativePath, nil
}

// attempts is how often a repository is made independent when somebody brings a
// reference at the same time that needs the pool.
const attempts = 3

// Disconnect gives a member all objects that it borrows, and ends the borrowing. A
// repository that borrows nothing is left alone. At no moment could a crash leave
// the repository without objects that it needs: they are copied first, and until
// all of them are proven to be there the suspended borrowing is resumed at the next
// start.
func (s *Service) Disconnect(ctx context.Context, repo *storage.Repo) error {
	release, err := s.hold(repo)
	if err != nil {
		return err
	}
	defer release()
	for range attempts {
		entries, err := repo.Borrows()
		if err != nil || len(entries) == 0 {
			return err
		}
		done, err := s.disconnect(ctx, repo)
		if err != nil || done {
			return err
		}
	}
	return errs.New(errs.Conflict, "others bring references that need the pool")
}

// disconnect tries once. It reports false if objects turned out to be missing.
func (s *Service) disconnect(ctx context.Context, repo *storage.Repo) (bool, error) {
	if err := s.copyObjects(ctx, repo); err != nil {
		return false, err
	}
	if err := repo.Suspend(); err != nil {
		return false, err
	}
	missing, err := s.incomplete(ctx, repo)
	if err != nil || missing {
		return false, errors.Join(err, repo.Resume())
	}
	return repo.Forget()
}

// copyObjects makes a pack of everything that the references of a repository reach,
// wherever it lies.
func (s *Service) copyObjects(ctx context.Context, repo *storage.Repo) error {
	began := time.Now()
	err := s.o.Git.Run(ctx, &repo.Repo, gitcmd.Spec{
		Name: "pack-objects", Flags: []string{"--quiet", "--all", "--non-empty", "--delta-base-offset"},
		Args: []string{repo.Dir + "/objects/pack/pack"}, Stdin: strings.NewReader(""),
	})
	if err != nil {
		return fmt.Errorf("copy borrowed objects: %w", err)
	}
	return pack.SyncChanged(repo.Dir, began)
}

// incomplete reports whether a reference needs an object that is not there. It
// waits for the pushes that began when the repository still borrowed.
func (s *Service) incomplete(ctx context.Context, repo *storage.Repo) (bool, error) {
	if err := s.o.Writers.Outlive(ctx, repo.Dir); err != nil {
		return false, err
	}
	err := s.o.Git.Run(ctx, &repo.Repo, gitcmd.Spec{Name: "rev-list", Flags: []string{"--objects", "--all", "--quiet"}, Background: true})
	if gitcmd.Exited(err, 128) && ctx.Err() == nil {
		s.o.Log.WarnContext(ctx, "repository still needs its pool", slog.String("repository", repo.RelativePath), slog.Any("error", err))
		return true, nil
	}
	return false, err
}
