package commit

import (
	"context"
	"path"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Last returns the newest commit, up to a revision, that changed a clean path; "" is
// the root. None, and a revision that is not there, is errs.NotFound.
func Last(ctx context.Context, git Git, repo *gitcmd.Repo, revision, clean string) (*gitalypb.GitCommit, error) {
	if err := ref.CheckRevision(revision); err != nil {
		return nil, err
	}
	if clean == "" {
		clean = "."
	}
	w := Walk{Revisions: []string{revision}, Paths: []string{clean}}
	w.Limit(1)
	var last *gitalypb.GitCommit
	err := List(ctx, git, repo, w, func(c *gitalypb.GitCommit) error {
		last = c
		return nil
	})
	if err == nil && last == nil {
		err = errs.New(errs.NotFound, "no commit changed the path")
	}
	return last, err
}

// LastOfEach is Last for several names in one directory, in one walk over the history:
// a name is followed to the first parent in which it is the same, and where there is
// none it was changed. each is called in the order of the names.
func LastOfEach(ctx context.Context, git Git, repo *gitcmd.Repo, revision, dir string, names []string, each func(name string, c *gitalypb.GitCommit) error) error {
	if err := ref.CheckRevision(revision); err != nil {
		return err
	}
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	s := search{objects: objects, dir: dir, names: names, states: map[string]state{}, waiting: map[string][]string{}, found: map[string]string{}}
	if err := s.walk(ctx, git, repo, revision); err != nil {
		return err
	}
	for _, name := range names {
		var c *gitalypb.GitCommit
		if oid, ok := s.found[name]; ok {
			c, err = Read(objects, oid)
		} else { // a clock ran backwards, and a parent came before its child
			c, err = Last(ctx, git, repo, revision, path.Join(dir, name))
		}
		if err == nil {
			err = each(name, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// state is what the names are in one commit: mode and id, or nothing.
type state map[string]string

// search is one walk.
type search struct {
	objects *object.Reader
	dir     string
	names   []string
	states  map[string]state    // of commits that wait for their turn
	waiting map[string][]string // the names that were followed to a commit
	found   map[string]string   // the commit that changed a name
}

// walk visits the commits that change the directory, children before parents. git
// leaves out all others and names as parents the next ones that it shows; in between
// the directory stays the same.
func (s *search) walk(ctx context.Context, git Git, repo *gitcmd.Repo, revision string) error {
	w := Walk{Revisions: []string{revision}}
	if s.dir != "" {
		w.Paths = []string{s.dir}
	}
	spec, err := w.spec("--parents")
	if err != nil {
		return err
	}
	first := true
	err = git.Lines(ctx, repo, spec, func(line []byte) error {
		ids := strings.Fields(string(line))
		if first {
			first = false
			s.waiting[ids[0]] = s.names
		}
		if err := s.visit(ids[0], ids[1:]); err != nil {
			return err
		}
		if len(s.found) == len(s.names) {
			return gitcmd.ErrStop
		}
		return nil
	})
	return unknownRevision(err)
}

// visit sends the names that wait at a commit on to its parents.
func (s *search) visit(commit string, parents []string) error {
	names := s.waiting[commit]
	if len(names) == 0 {
		return nil
	}
	own, err := s.state(commit)
	if err != nil {
		return err
	}
	for _, parent := range parents {
		if len(names) == 0 {
			break
		}
		before, err := s.state(parent)
		if err != nil {
			return err
		}
		var changed []string
		for _, name := range names {
			if before[name] == own[name] {
				s.waiting[parent] = append(s.waiting[parent], name)
			} else {
				changed = append(changed, name)
			}
		}
		names = changed
		if len(s.waiting[parent]) == 0 {
			delete(s.states, parent)
		}
	}
	for _, name := range names {
		s.found[name] = commit
	}
	delete(s.waiting, commit)
	delete(s.states, commit)
	return nil
}

// state reads what the names are in a commit.
func (s *search) state(commit string) (state, error) {
	if known, ok := s.states[commit]; ok {
		return known, nil
	}
	root, err := s.objects.RootTree(commit)
	if err != nil {
		return nil, err
	}
	st := make(state, len(s.names))
	s.states[commit] = st
	dir, err := s.objects.Find(root, s.dir)
	if errs.KindOf(err) == errs.NotFound || err == nil && dir.Type() != "tree" {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := s.objects.Tree(dir.OID, "")
	if err != nil {
		return nil, err
	}
	all := make(state, len(entries))
	for _, e := range entries {
		all[e.Path] = strconv.FormatInt(int64(e.Mode), 8) + " " + e.OID
	}
	for _, name := range s.names {
		st[name] = all[name]
	}
	return st, nil
}
