package access

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/user"
)

// TakesLFS reports whether a project takes large files.
func (c *Checker) TakesLFS(p project.Project) bool { return !c.WithoutLFS && p.LFSEnabled }

// checkLFS judges what a push brings: it may not touch files that somebody else has
// locked, and what stands for a large file needs that file (wire/internal-api.md §5.3).
// Without locks that is one question to the storage server, whose work grows with
// the push and not with the repository.
func (c *Checker) checkLFS(ctx context.Context, in GitRequest, f *facts) error {
	r := f.result
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
	if f.locked {
		if err := c.checkLocks(ctx, in, r, news); err != nil {
			return err
		}
	}
	files := lfs.New(c.DB)
	return c.Repositories.LFSPointers(ctx, r.Project, in.Quarantine, news, func(oids []string) error {
		have, err := files.Linked(ctx, r.Project.ID, oids)
		if err == nil {
			have, err = c.ShareLFS(ctx, r.User, r.Project, oids, have)
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(oids, func(oid string) bool { _, ok := have[oid]; return !ok }) {
			return errs.New(errs.Denied, lfsMissing)
		}
		return nil
	})
}

// ShareLFS gives a fork those of the objects that it does not have and its source
// has, if the user, nil for nobody, may read that (wire/workhorse.md §6.7). have are
// those that it has; it returns them with what came.
func (c *Checker) ShareLFS(ctx context.Context, u *user.User, p project.Project, oids []string, have map[string]lfs.Object) (map[string]lfs.Object, error) {
	missing := slices.DeleteFunc(slices.Clone(oids), func(oid string) bool { _, ok := have[oid]; return ok })
	if p.ForkedFromID == nil || len(missing) == 0 {
		return have, nil
	}
	source, err := project.New(c.DB).ByID(ctx, *p.ForkedFromID)
	if err == nil {
		err = c.Can(ctx, u, DownloadCode, source)
	}
	if kind := errs.KindOf(err); kind == errs.NotFound || kind == errs.Denied {
		return have, nil
	}
	files := lfs.New(c.DB)
	if err == nil {
		err = files.Share(ctx, source.ID, p.ID, missing)
	}
	if err != nil {
		return nil, err
	}
	return files.Linked(ctx, p.ID, oids)
}

// userID is 0 for nobody and for a deploy key, to which everybody is somebody else.
func userID(r GitResult) int64 {
	if r.User == nil {
		return 0
	}
	return r.User.ID
}

// checkLocks refuses a push that changes what somebody else has locked.
func (c *Checker) checkLocks(ctx context.Context, in GitRequest, r GitResult, news []string) error {
	locks := lfs.New(c.DB)
	return c.Repositories.ChangedPaths(ctx, r.Project, in.Quarantine, news, func(paths []string) error {
		// What PostgreSQL cannot hold has no lock.
		paths = slices.DeleteFunc(paths, func(p string) bool { return !utf8.ValidString(p) || strings.ContainsRune(p, 0) })
		lock, held, err := locks.LockAgainst(ctx, r.Project.ID, userID(r), paths)
		if err != nil || !held {
			return err
		}
		return errs.New(errs.Denied, lockedBy(lock.Path, lock.Username))
	})
}
