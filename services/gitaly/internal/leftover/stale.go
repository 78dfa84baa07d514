package leftover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Ages at which files are stale whoever made them (wire/gitaly.md §15).
const (
	lockAge       = 15 * time.Minute
	refLockAge    = time.Hour
	temporaryAge  = 24 * time.Hour
	quarantineAge = 72 * time.Hour
	keepAge       = 7 * 24 * time.Hour
)

// RemoveStale removes from a repository what no writer can need any more by its age,
// and returns the paths relative to the repository. It is the net below Sweep, for
// what was copied in or made by others; what a living writer of ours may own stays
// however old it is. Writers may start meanwhile: what they make is not old.
func (g *Guard) RemoveStale(dir string) ([]string, error) {
	r := g.repository(dir)
	r.mu.Lock()
	l, _ := g.limits(r)
	g.release(dir, r, true)
	r.mu.Unlock()
	s := stale{sweeper: sweeper{repo: dir}, now: g.now(), oldest: l.packs}
	s.directory("")
	s.directory("info")
	s.tree("objects")
	s.tree("refs")
	s.emptyRefDirs()
	return s.removed, errors.Join(s.errs...)
}

type stale struct {
	sweeper
	now, oldest time.Time
	refDirs     []string
}

// directory looks at the files in one directory.
func (s *stale) directory(rel string) {
	entries, err := os.ReadDir(filepath.Join(s.repo, rel))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.errs = append(s.errs, fmt.Errorf("look for stale files: %w", err))
	}
	for _, e := range entries {
		if !e.IsDir() {
			s.look(filepath.Join(rel, e.Name()), e)
		}
	}
}

// tree looks at everything below a directory.
func (s *stale) tree(rel string) {
	err := filepath.WalkDir(filepath.Join(s.repo, rel), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what vanished needs no cleaning
		}
		name, _ := filepath.Rel(s.repo, path)
		s.look(name, d)
		switch {
		case d.IsDir() && strings.HasPrefix(name, "objects/tmp_objdir-"):
			return fs.SkipDir // a push's own
		case d.IsDir() && strings.Count(name, "/") > 1 && rel == "refs":
			s.refDirs = append(s.refDirs, path)
		}
		return nil
	})
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// look removes one file if it is stale.
func (s *stale) look(name string, d fs.DirEntry) {
	age, ok := s.ageOf(name, d)
	if !ok {
		return
	}
	s.before = s.now.Add(-age)
	if s.oldest.Before(s.before) {
		s.before = s.oldest
	}
	s.remove(filepath.Join(s.repo, name))
}

// ageOf returns the age at which a file is stale, or false for what never is.
func (s *stale) ageOf(name string, d fs.DirEntry) (time.Duration, bool) {
	inObjects, inRefs := strings.HasPrefix(name, "objects/"), strings.HasPrefix(name, "refs/")
	base := filepath.Base(name)
	switch {
	case d.IsDir():
		return quarantineAge, strings.HasPrefix(name, "objects/tmp_objdir-")
	case name == "info/refs", name == "objects/info/packs": // for a protocol that nobody serves
		return 0, true
	case name == "packed-refs.lock", inRefs && strings.HasSuffix(name, ".lock"):
		return refLockAge, true
	case inRefs:
		info, err := d.Info()
		return temporaryAge, err == nil && info.Size() == 0
	case name == "packed-refs.new", name == "HEAD.lock", name == "config.lock", name == "shallow.lock",
		inObjects && strings.HasSuffix(base, ".lock"):
		return lockAge, true
	case inObjects && (strings.HasPrefix(base, "tmp_") || strings.HasPrefix(base, ".tmp-")):
		return temporaryAge, true
	case strings.HasPrefix(name, "objects/pack/") && strings.HasSuffix(name, ".keep"):
		return keepAge, transferMark(filepath.Join(s.repo, name))
	}
	return 0, false
}

// emptyRefDirs removes directories below refs/heads and its like that have been empty
// for a while: they make every listing slower. Git makes them again when it needs them.
func (s *stale) emptyRefDirs() {
	for _, dir := range slices.Backward(s.refDirs) { // the inner ones first
		info, err := os.Lstat(dir)
		if err != nil || s.now.Sub(info.ModTime()) < temporaryAge {
			continue
		}
		if os.Remove(dir) == nil { // else it is not empty
			rel, _ := filepath.Rel(s.repo, dir)
			s.removed = append(s.removed, rel)
		}
	}
}
