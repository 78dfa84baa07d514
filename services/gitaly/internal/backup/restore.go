package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/customhook"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// Restore makes the repository what the backup says, "" for the latest, and replaces
// the one that is there in a single step. If there is no backup it is
// errs.FailedPrecondition with ErrSkipped, and nothing changes; but with create an
// empty repository is made when there is none.
func (s *Service) Restore(ctx context.Context, repo *storage.Repo, p Place, id string, create bool) error {
	if err := s.ready(id); err != nil {
		return err
	}
	name := id
	if name == "" {
		name = latest
	}
	m, err := s.store.readManifest(p, name)
	if errs.KindOf(err) == errs.NotFound {
		return s.without(ctx, repo, create && id == "")
	}
	if err != nil {
		return err
	}
	o := storage.CreateOptions{SHA256: m.ObjectFormat == "sha256", Replace: true, Fill: func(ctx context.Context, dir *gitcmd.Repo) error {
		return s.fill(ctx, dir, m)
	}}
	if branch, ok := strings.CutPrefix(m.HeadReference, ref.Branches); ok && ref.Valid(m.HeadReference) {
		o.Branch = branch
	}
	return storage.Create(ctx, s.git, repo, o)
}

// without is a restoration for which there is no backup.
func (s *Service) without(ctx context.Context, repo *storage.Repo, create bool) error {
	if !create {
		return errs.Wrap(errs.FailedPrecondition, "repository skipped: there is no such backup", ErrSkipped)
	}
	err := storage.Create(ctx, s.git, repo, storage.CreateOptions{})
	if errs.KindOf(err) == errs.Exists {
		return nil
	}
	return err
}

// fill carries the steps out one after the other. After each the references are
// exactly those of its list: the next one may build on any of them.
func (s *Service) fill(ctx context.Context, dir *gitcmd.Repo, m manifest) error {
	for _, st := range m.Steps {
		if err := s.fetch(ctx, dir, st.Bundle); err != nil {
			return err
		}
		if err := s.setRefs(ctx, dir, st.Refs); err != nil {
			return err
		}
	}
	if err := s.git.Run(ctx, dir, gitcmd.Spec{Name: "pack-refs", Flags: []string{"--all"}}); err != nil {
		return err
	}
	return s.hooks(dir, m.Steps[len(m.Steps)-1].Hooks)
}

func (s *Service) fetch(ctx context.Context, dir *gitcmd.Repo, name string) error {
	if name == "" {
		return nil
	}
	path, err := s.store.path(name)
	if err != nil {
		return incomplete(err)
	}
	b, err := remote.OpenBundle(path)
	if err != nil {
		return incomplete(err)
	}
	return s.remotes.Fetch(ctx, dir, b, remote.FetchOptions{Refspecs: []string{"+refs/*:refs/*"}, Trusted: true})
}

// incomplete is for a manifest whose files are missing or damaged.
func incomplete(err error) error {
	return errs.Wrap(errs.FailedPrecondition, "the backup is incomplete or damaged", err)
}

// setRefs makes the references those of a list. The repository is not in its place yet:
// nobody else sees its files.
func (s *Service) setRefs(ctx context.Context, dir *gitcmd.Repo, name string) (err error) {
	f, err := s.store.open(name)
	if err != nil {
		return incomplete(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	refs := filepath.Join(dir.Dir, "refs")
	if err := errors.Join(os.RemoveAll(refs), os.MkdirAll(filepath.Join(refs, "heads"), 0o700)); err != nil {
		return fmt.Errorf("remove references: %w", err)
	}
	if err := os.Remove(filepath.Join(dir.Dir, "packed-refs")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove references: %w", err)
	}
	in := &creations{lines: bufio.NewScanner(f)}
	err = s.git.Run(ctx, dir, gitcmd.Spec{Name: "update-ref", Flags: []string{"--stdin", "-z"}, Stdin: in, NoHooks: true})
	switch {
	case in.bad.Load():
		return incomplete(fmt.Errorf("list of references %q is malformed", name))
	case gitcmd.Failed(err):
		return incomplete(err)
	}
	return err
}

// creations turns lines of "<id> <name>" into what git update-ref reads. HEAD is set
// otherwise.
type creations struct {
	lines *bufio.Scanner
	ready bytes.Buffer
	bad   atomic.Bool // a line could not be read
}

func (c *creations) Read(p []byte) (int, error) {
	for c.ready.Len() == 0 {
		if !c.lines.Scan() {
			if c.lines.Err() != nil {
				c.bad.Store(true)
			}
			return 0, io.EOF
		}
		id, name, _ := strings.Cut(c.lines.Text(), " ")
		switch {
		case name == "HEAD" || id == "":
		case !ref.ValidOID(id) || !ref.Valid(name):
			c.bad.Store(true)
		default:
			fmt.Fprintf(&c.ready, "create %s\x00%s\x00", name, id)
		}
	}
	return c.ready.Read(p)
}

func (s *Service) hooks(dir *gitcmd.Repo, name string) (err error) {
	if name == "" {
		return nil
	}
	f, err := s.store.open(name)
	if err != nil {
		return incomplete(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root, err := os.OpenRoot(dir.Dir)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return customhook.Unpack(root, f)
}
