package access

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/project"
)

// TakesLFS reports whether a project takes large files.
func (c *Checker) TakesLFS(p project.Project) bool { return !c.WithoutLFS && p.LFSEnabled }

// checkLFS judges what a push brings: it may not touch files that somebody else has
// locked, and what stands for a large file needs that file (wire/internal-api.md §5.3).
// Without locks that is one question to the storage server, whose work grows with
// the push and not with the repository.
func (c *Checker) checkLFS(ctx context.Context, in GitRequest, r GitResult) error {
	var news []string
	for _, change := range in.Changes {
		if !change.Deletes() {
			news = append(news, change.New)
		}
	}
	if len(news) == 0 || !c.TakesLFS(r.Project) {
		return nil
	}
	slices.Sort(news)
	news = slices.Compact(news)
	if err := c.checkLocks(ctx, in, r, news); err != nil {
		return err
	}
	files := lfs.New(c.DB)
	return c.Repositories.LFSPointers(ctx, r.Project, in.Quarantine, news, func(oids []string) error {
		have, err := files.Linked(ctx, r.Project.ID, oids)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(oids, func(oid string) bool { _, ok := have[oid]; return !ok }) {
			return errs.New(errs.Denied, lfsMissing)
		}
		return nil
	})
}

// checkLocks asks for the changed paths only if somebody else has a lock. To a
// deploy key everybody is somebody else.
func (c *Checker) checkLocks(ctx context.Context, in GitRequest, r GitResult, news []string) error {
	var userID int64
	if r.User != nil {
		userID = r.User.ID
	}
	locks := lfs.New(c.DB)
	locked, err := locks.LockedByOthers(ctx, r.Project.ID, userID)
	if err != nil || !locked {
		return err
	}
	return c.Repositories.ChangedPaths(ctx, r.Project, in.Quarantine, news, func(paths []string) error {
		// What PostgreSQL cannot hold has no lock.
		paths = slices.DeleteFunc(paths, func(p string) bool { return !utf8.ValidString(p) || strings.ContainsRune(p, 0) })
		lock, held, err := locks.LockAgainst(ctx, r.Project.ID, userID, paths)
		if err != nil || !held {
			return err
		}
		return errs.New(errs.Denied, lockedBy(lock.Path, lock.Username))
	})
}
