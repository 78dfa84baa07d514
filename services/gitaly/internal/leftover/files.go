package leftover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// packTraces are what writers of objects, packs and indexes lock or write aside.
var packTraces = []string{ //nolint:gochecknoglobals // a constant
	"objects/[0-9a-f][0-9a-f]/tmp_obj_*",
	"objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/pack/multi-pack-index.lock", "objects/info/commit-graph.lock",
	"objects/info/commit-graphs/tmp_*", "objects/info/commit-graphs/commit-graph-chain.lock",
}

// refTraces are what git locks or writes aside outside of refs/, and quarantines.
var refTraces = []string{ //nolint:gochecknoglobals // a constant
	"objects/tmp_objdir-*", "packed-refs.lock", "packed-refs.new", "HEAD.lock", "config.lock", "shallow.lock",
	"reftable/*.lock",
}

// remove removes the traces in the repository that were last touched before the
// limits, and returns their paths relative to the repository.
func remove(repo string, traces gitcmd.Traces, l limits) (removed []string, err error) {
	s := sweeper{repo: repo, before: l.packs}
	for _, pattern := range packTraces {
		s.glob(pattern)
	}
	if traces == gitcmd.RefTraces {
		s.before = l.refs
		s.keepFiles()
		for _, pattern := range refTraces {
			s.glob(pattern)
		}
		s.refLocks()
		s.alternates()
	}
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
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".lock") || empty(d)) {
			s.remove(path)
		}
		return nil // what vanished needs no sweeping
	})
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// empty reports whether a reference has no value: a crash of the machine came between its
// name and its content, and before anybody was told of it (package pack, bulk).
func empty(d fs.DirEntry) bool {
	info, err := d.Info()
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// alternates puts back what a repository borrows from, if somebody died who was
// about to make it independent.
func (s *sweeper) alternates() {
	path := filepath.Join(s.repo, storage.SuspendedFile)
	info, err := os.Lstat(path)
	if err != nil || !info.ModTime().Before(s.before) {
		return
	}
	if err := os.Rename(path, strings.TrimSuffix(path, filepath.Ext(path))); err != nil {
		s.errs = append(s.errs, fmt.Errorf("put alternates back: %w", err))
	}
}

// keepMark is what git writes into the keep file of a pack that it has received,
// until the refs are written. Other keep files have other owners.
var keepMark = regexp.MustCompile(`^(receive-pack|fetch-pack) [0-9]+ on `)

func (s *sweeper) keepFiles() {
	paths, _ := filepath.Glob(filepath.Join(escape(s.repo), "objects/pack/*.keep"))
	for _, p := range paths {
		if transferMark(p) {
			s.remove(p)
		}
	}
}

func transferMark(path string) bool {
	raw, err := os.ReadFile(path) //nolint:gosec // our own repository
	return err == nil && keepMark.Match(raw)
}
