package leftover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// topLocks are the files outside of refs/ that git locks or writes aside.
var topLocks = []string{ //nolint:gochecknoglobals // a constant
	"packed-refs.lock", "packed-refs.new", "HEAD.lock", "config.lock", "shallow.lock",
}

// Remove removes the leftovers in the repository that were last touched before
// the given time, and returns their paths relative to the repository.
func Remove(repo string, before time.Time) (removed []string, err error) {
	s := sweeper{repo: repo, before: before}
	s.glob("objects/tmp_objdir-*")
	s.glob("objects/pack/tmp_*")
	s.keepFiles()
	for _, name := range topLocks {
		s.glob(name)
	}
	s.refLocks()
	return s.removed, errors.Join(s.errs...)
}

type sweeper struct {
	repo    string
	before  time.Time
	removed []string
	errs    []error
}

func (s *sweeper) glob(pattern string) {
	paths, _ := filepath.Glob(filepath.Join(escape(s.repo), pattern)) // the pattern is ours and well formed
	for _, p := range paths {
		s.remove(p)
	}
}

// escape keeps a repository's path literal inside a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (s *sweeper) remove(path string) {
	info, err := os.Lstat(path)
	if err != nil || !info.ModTime().Before(s.before) {
		return
	}
	rel, _ := filepath.Rel(s.repo, path)
	if err := os.RemoveAll(path); err != nil {
		s.errs = append(s.errs, fmt.Errorf("remove leftover: %w", err))
		return
	}
	s.removed = append(s.removed, rel)
}

func (s *sweeper) refLocks() {
	err := filepath.WalkDir(filepath.Join(s.repo, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".lock") {
			s.remove(path)
		}
		return nil // what vanished needs no sweeping
	})
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// keepFiles removes the marks that receive-pack puts on a pack until the refs
// are written: "receive-pack <pid> on <host>". Other keep files have other owners.
func (s *sweeper) keepFiles() {
	paths, _ := filepath.Glob(filepath.Join(escape(s.repo), "objects/pack/*.keep"))
	for _, p := range paths {
		if raw, err := os.ReadFile(p); err == nil && strings.HasPrefix(string(raw), "receive-pack ") { //nolint:gosec // our own repository
			s.remove(p)
		}
	}
}

// eachRepository calls do for every directory below root that looks like a
// repository, leaving our own directory out.
func eachRepository(ctx context.Context, root string, do func(dir string)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // what vanished needs no sweeping
		case d.Name() == "+gitaly":
			return fs.SkipDir
		}
		if _, err := os.Lstat(filepath.Join(path, "HEAD")); err != nil {
			return nil //nolint:nilerr // a directory above repositories
		}
		do(path)
		return fs.SkipDir
	})
}
