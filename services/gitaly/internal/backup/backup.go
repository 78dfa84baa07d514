// Package backup keeps copies of repositories in a directory, and makes repositories
// from them again. A backup is a bundle, the list of all references with what they
// point at, and the custom hooks; further backups may hold only what is new.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/bundle"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/customhook"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// ErrSkipped says that there was nothing to do.
var ErrSkipped = errors.New("repository skipped")

// Service backs repositories up and restores them. It is safe for concurrent use.
type Service struct {
	git     ref.Git
	remotes *remote.Service
	store   *Store
}

// New returns a service. Without a store, every call is errs.FailedPrecondition.
func New(git ref.Git, remotes *remote.Service, store *Store) *Service {
	return &Service{git: git, remotes: remotes, store: store}
}

// Options says what kind of backup to make.
type Options struct {
	ID          string
	Incremental bool   // only what an earlier backup, if there is one, does not have
	Base        string // the earlier one; "" is the latest
}

// ready reports whether there is a place for backups, and whether the ids can be names.
func (s *Service) ready(ids ...string) error {
	if s.store == nil {
		return errs.New(errs.FailedPrecondition, "server-side backups are not configured")
	}
	for _, id := range ids {
		if id != "" && !validID.MatchString(id) {
			return errs.New(errs.Invalid, "invalid backup id")
		}
	}
	return nil
}

// Create makes a backup. It can be found when it is complete. If nothing has changed
// since the earlier one it is errs.FailedPrecondition with ErrSkipped.
func (s *Service) Create(ctx context.Context, repo *storage.Repo, p Place, o Options) error {
	if err := s.ready(o.ID, o.Base); err != nil {
		return err
	}
	m, err := s.begin(p, o)
	if err != nil {
		return err
	}
	if m.ObjectFormat, err = repo.ObjectFormat(); err != nil {
		return err
	}
	if m.HeadReference, err = ref.Head(ctx, s.git, &repo.Repo); err != nil {
		return err
	}
	st := &m.Steps[len(m.Steps)-1]
	if err := s.content(ctx, repo, st); err != nil {
		return err
	}
	if n := len(m.Steps); n > 1 && st.Bundle == "" {
		same, err := s.same(*st, m.Steps[n-2])
		if err != nil {
			return err
		}
		if same {
			return errs.Wrap(errs.FailedPrecondition, "no changes to bundle", ErrSkipped)
		}
	}
	return s.store.writeManifest(p, o.ID, m)
}

// begin returns the manifest with a last step that is to be filled.
func (s *Service) begin(p Place, o Options) (manifest, error) {
	var m manifest
	if o.Incremental {
		base := o.Base
		if base == "" {
			base = latest
		}
		found, err := s.store.readManifest(p, base)
		if err != nil && (errs.KindOf(err) != errs.NotFound || o.Base != "") {
			return m, err
		}
		m = found
	}
	folder, err := s.folder(p, o.ID)
	if err != nil {
		return m, err
	}
	next := p.step(folder, len(m.Steps)+1)
	if n := len(m.Steps); n > 0 {
		next.Previous = m.Steps[n-1].Refs
	}
	m.Steps = append(m.Steps, next)
	return m, nil
}

// folder names the folder for the files of a backup: its id, or another name if there is
// a backup of that id, whose files later ones may build on.
func (s *Service) folder(p Place, id string) (string, error) {
	f, err := s.store.open(p.manifest(id))
	if errs.KindOf(err) == errs.NotFound {
		return id, nil
	}
	if err != nil {
		return "", err
	}
	return id + "-" + rand.Text(), f.Close()
}

// content writes the files of a step. What turns out to be empty is not in it.
func (s *Service) content(ctx context.Context, repo *storage.Repo, st *step) error {
	if err := s.writeRefs(ctx, repo, st.Refs); err != nil {
		return err
	}
	_, err := s.store.write(st.Bundle, func(w io.Writer) error { return s.bundle(ctx, repo, *st, w) })
	switch {
	case errs.KindOf(err) == errs.FailedPrecondition: // no references, or no new objects
		st.Bundle = ""
	case err != nil:
		return err
	}
	written, err := s.store.write(st.Hooks, func(w io.Writer) error { return customhook.Get(ctx, repo, w) })
	if !written {
		st.Hooks = ""
	}
	return err
}

// writeRefs lists HEAD and all references; without any it writes a line break.
func (s *Service) writeRefs(ctx context.Context, repo *storage.Repo, name string) error {
	_, err := s.store.write(name, func(w io.Writer) error {
		err := s.git.Run(ctx, &repo.Repo, gitcmd.Spec{Name: "show-ref", Flags: []string{"--head"}, Stdout: w})
		if gitcmd.Exited(err, 1) {
			_, err = io.WriteString(w, "\n")
		}
		return err
	})
	return err
}

// bundle writes everything that the listed references reach, and the present ones,
// which may have moved on, without what the list before reached.
func (s *Service) bundle(ctx context.Context, repo *storage.Repo, st step, w io.Writer) (err error) {
	lists := &refLists{store: s.store, names: []string{st.Refs}}
	if st.Previous != "" {
		lists.names = append(lists.names, st.Previous)
	}
	defer func() { err = errors.Join(err, lists.close()) }()
	begun := false
	in, err := commit.NewInput(func() ([][]byte, error) {
		if !begun {
			begun = true
			return [][]byte{[]byte("--all")}, nil
		}
		return lists.next()
	})
	if err != nil {
		return err
	}
	return bundle.Some(ctx, s.git, &repo.Repo, in, w)
}

// same reports whether two steps have the same references and hooks.
func (s *Service) same(a, b step) (bool, error) {
	for _, pair := range [][2]string{{a.Refs, b.Refs}, {a.Hooks, b.Hooks}} {
		first, err1 := s.digest(pair[0])
		second, err2 := s.digest(pair[1])
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(first, second) {
			return false, err
		}
	}
	return true, nil
}

// digest sums a file up; nil is none.
func (s *Service) digest(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	f, err := s.store.open(name)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	return h.Sum(nil), nil
}

// batch is how many references are read at a time.
const batch = 1000

// refLists gives the ids of lists of references, the first as they are, the second as
// what is not wanted. A git that ended early may still be fed when it is closed.
type refLists struct {
	mu    sync.Mutex
	store *Store
	names []string
	file  io.Closer
	lines *bufio.Scanner
	sign  string
}

func (l *refLists) next() ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids [][]byte
	for len(ids) < batch {
		line, err := l.line()
		if errors.Is(err, io.EOF) && len(ids) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		if id, _, ok := strings.Cut(line, " "); ok {
			ids = append(ids, []byte(l.sign+id))
		}
	}
	return ids, nil
}

// line returns the next line of the present list, or of the next one.
func (l *refLists) line() (string, error) {
	for {
		if l.lines == nil {
			if len(l.names) == 0 {
				return "", io.EOF
			}
			f, err := l.store.open(l.names[0])
			if err != nil {
				return "", err
			}
			l.file, l.lines, l.names = f, bufio.NewScanner(f), l.names[1:]
		}
		if l.lines.Scan() {
			return l.lines.Text(), nil
		}
		err := errors.Join(l.lines.Err(), l.file.Close())
		if l.lines, l.sign = nil, "^"; err != nil {
			return "", fmt.Errorf("read references: %w", err)
		}
	}
}

func (l *refLists) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = nil
	if l.lines == nil {
		return nil
	}
	l.lines = nil
	return l.file.Close()
}
