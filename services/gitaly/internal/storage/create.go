package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/kit/durable"
	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
}

// CreateOptions says how a new repository looks.
type CreateOptions struct {
	Branch string // short name of the default branch, already checked; "" is main
	SHA256 bool
	// Replace puts the new repository into the place of one that is there, which is
	// then deleted.
	Replace bool
	// Fill completes the repository before it gets to its place; nil leaves it
	// empty. It makes durable what git itself does not.
	Fill func(ctx context.Context, dir *gitcmd.Repo) error
}

// Create makes the repository in our temporary directory and moves it to its
// place when it is complete and durable, so that it exists wholly or not at all.
// Of two callers one gets errs.Exists.
func Create(ctx context.Context, git Git, repo *Repo, o CreateOptions) (err error) {
	_, err = repo.Storage.root.Lstat(repo.RelativePath)
	replace := err == nil
	if replace && (!o.Replace || !slices.ContainsFunc(parts, repo.has)) {
		return errs.New(errs.Exists, "repository exists already")
	}
	tmpRel := tmpDir + "/repo-" + randomName()
	tmp := filepath.Join(repo.Storage.Path, tmpRel)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := git.Run(ctx, nil, initSpec(tmp, o)); err != nil {
		return err
	}
	if err := StampFullRepack(tmp, time.Now()); err != nil { // there is nothing to pack yet
		return err
	}
	if o.Fill != nil {
		if err := o.Fill(ctx, &gitcmd.Repo{Dir: tmp}); err != nil {
			return err
		}
	}
	if err := syncTree(tmp); err != nil {
		return err
	}
	if replace {
		return repo.exchange(tmpRel)
	}
	return repo.moveIn(tmpRel)
}

// exchange puts the new repository into the place of the old one, and deletes that.
func (r *Repo) exchange(tmpRel string) error {
	if r.IsPool() { // members would lose what they borrow
		return errs.New(errs.FailedPrecondition, "an object pool cannot be replaced")
	}
	tmp := filepath.Join(r.Storage.Path, tmpRel)
	if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, r.Dir, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchange repositories: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(r.Dir)); err != nil {
		return err
	}
	return r.Storage.root.RemoveAll(tmpRel)
}

func initSpec(dir string, o CreateOptions) gitcmd.Spec {
	s := gitcmd.Spec{Name: "init", Flags: []string{"--bare", "--quiet"}, Args: []string{dir}}
	if o.Branch != "" {
		s.Flags = append(s.Flags, "--initial-branch="+o.Branch)
	}
	if o.SHA256 {
		s.Flags = append(s.Flags, "--object-format=sha256")
	}
	return s
}

func (r *Repo) moveIn(tmpRel string) error {
	if err := r.makeParents(); err != nil {
		return err
	}
	err := r.Storage.root.Rename(tmpRel, r.RelativePath)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return errs.Wrap(errs.Exists, "repository exists already", err)
	}
	if err != nil {
		return fmt.Errorf("move new repository to its place: %w", err)
	}
	return durable.SyncDir(filepath.Dir(r.Dir))
}

// makeParents creates the directories above the repository and makes each new
// name durable. Nothing on the way may be a repository or a symbolic link.
func (r *Repo) makeParents() error {
	part := ""
	for elem := range strings.SplitSeq(filepath.Dir(r.RelativePath), "/") {
		parent := part
		part = filepath.Join(part, elem)
		if part == "." {
			return nil
		}
		err := r.Storage.root.Mkdir(part, 0o700)
		switch {
		case err == nil:
			if err := durable.SyncDir(filepath.Join(r.Storage.Path, parent)); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("create directory: %w", err)
		}
		if info, err := r.Storage.root.Lstat(part); err != nil || !info.IsDir() {
			return errs.New(errs.Invalid, "relative path escapes root directory")
		}
		if _, err := r.Storage.root.Lstat(filepath.Join(part, "HEAD")); err == nil {
			return errs.New(errs.Invalid, "relative path is inside another repository")
		}
	}
	return nil
}

// syncTree makes a small tree of files durable.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("sync new repository: %w", err)
		}
		return durable.SyncDir(path) // a plain file syncs in the same way
	})
}

// Remove moves the repository away, which is the moment it stops to exist, and
// then deletes it. No repository is errs.NotFound.
func Remove(repo *Repo) error {
	err := repo.validate()
	if errs.KindOf(err) == errs.NotFound {
		return err
	}
	if !slices.ContainsFunc(parts, repo.has) { // a damaged repository goes, a directory of repositories stays
		return err
	}
	away := tmpDir + "/removed-" + randomName()
	err = repo.Storage.root.Rename(repo.RelativePath, away)
	if errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.NotFound, "repository not found")
	}
	if err != nil {
		return fmt.Errorf("move repository away: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(repo.Dir)); err != nil {
		return err
	}
	if err := repo.Storage.root.RemoveAll(away); err != nil {
		return fmt.Errorf("delete repository: %w", err)
	}
	return nil
}
