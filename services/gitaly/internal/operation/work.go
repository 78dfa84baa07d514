package operation

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// Work is an operation under way: a repository, and a quarantine for what the
// operation makes. Nothing of it is visible or stays unless Move, Place or Keep
// succeeds. It is not safe for concurrent use.
type Work struct {
	Objects *object.Reader // reads the repository and the quarantine

	s       *Service
	req     Request
	repo    *storage.Repo
	inside  *storage.Quarantine
	dir     string         // files of ours that are no objects
	commits *object.Writer // nil until needed
	scratch *object.Writer // likewise
	leave   func(clean bool)
}

// Begin starts an operation. Close must be called.
func (s *Service) Begin(ctx context.Context, req Request) (_ *Work, err error) {
	w := &Work{s: s, req: req, repo: req.Repo, leave: s.o.Writers.Enter(req.Repo.Dir, gitcmd.NoTraces)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.inside, err = w.repo.NewQuarantine(); err != nil {
		return nil, err
	}
	if w.dir, err = w.repo.TempDir("work-"); err != nil {
		return nil, err
	}
	w.Objects, err = object.Open(ctx, s.o.Git, w.view())
	return w, err
}

// Close ends what the operation has started and removes what it has not kept.
func (w *Work) Close() error {
	defer w.leave(true)
	var faults []error
	if w.Objects != nil {
		faults = append(faults, w.Objects.Close())
	}
	for _, writer := range []*object.Writer{w.commits, w.scratch} {
		if writer != nil {
			_ = writer.Close() // what it has written, it has answered for
		}
	}
	if w.dir != "" {
		faults = append(faults, w.repo.Storage.RemoveTemp(w.dir))
	}
	if w.inside != nil {
		faults = append(faults, w.inside.Close())
	}
	return errors.Join(faults...)
}

// view is the repository as git sees it with the quarantine.
func (w *Work) view() *gitcmd.Repo { return &w.inside.Repo.Repo }

// Move asks the hooks, keeps what was made and moves a reference to it (see
// Service.Move).
func (w *Work) Move(ctx context.Context, change ref.Change, options ...string) error {
	return w.s.Move(ctx, Push{Request: w.req, Change: change, Options: options, Quarantine: w.inside})
}

// Place keeps what was made and moves a reference to it. It asks nobody: the
// reference is for the forge's own use, and if it is symbolic it is replaced, not
// followed to one that is not.
func (w *Work) Place(ctx context.Context, change ref.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	if err := w.s.expect(ctx, w.repo, change); err != nil {
		return err
	}
	if err := w.inside.Migrate(); err != nil {
		return err
	}
	return w.s.update(ctx, w.repo, change, "--no-deref")
}

// Keep makes the new objects part of the repository, though nothing points at them.
func (w *Work) Keep(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.inside.Migrate()
}

// Resolve returns the id of the commit that a revision stands for. None is
// errs.NotFound, what cannot be a revision is errs.Invalid.
func (w *Work) Resolve(revision string) (string, error) {
	if err := ref.CheckRevision(revision); err != nil {
		return "", err
	}
	info, err := w.Objects.Info(revision + "^{commit}")
	return info.OID, err
}

// Raw reads a commit.
func (w *Work) Raw(oid string) (commit.Raw, error) {
	_, raw, err := w.Objects.Contents(oid, "commit")
	if err != nil {
		return commit.Raw{}, err
	}
	return commit.Split(raw)
}

// HasBranches reports whether the repository has a branch.
func (w *Work) HasBranches(ctx context.Context) (bool, error) {
	found := false
	err := ref.List(ctx, w.s.o.Git, &w.repo.Repo, ref.Query{Patterns: []string{ref.Branches}, Limit: 1}, func(ref.Ref) error {
		found = true
		return nil
	})
	return found, err
}

// Contains reports whether a commit is in the history of another.
func (w *Work) Contains(ctx context.Context, oid, ancestor string) (bool, error) {
	return commit.IsAncestor(ctx, w.s.o.Git, w.view(), ancestor, oid)
}

// Commit is what a new commit says of itself.
type Commit struct {
	Author, Committer Signature
	Message           []byte // byte for byte
}

// Write makes a commit of a tree.
func (w *Work) Write(ctx context.Context, c Commit, tree string, parents ...string) (string, error) {
	author, err := c.Author.Line()
	if err != nil {
		return "", err
	}
	return w.Rewrite(ctx, commit.Raw{Tree: tree, Parents: parents, Author: author, Message: c.Message}, c.Committer)
}

// Rewrite makes a commit that is complete but for its committer.
func (w *Work) Rewrite(ctx context.Context, raw commit.Raw, committer Signature) (_ string, err error) {
	if bytes.IndexByte(raw.Message, 0) >= 0 {
		return "", errs.New(errs.Invalid, "commit message contains NUL byte")
	}
	if raw.Committer, err = committer.Line(); err != nil {
		return "", err
	}
	if w.commits == nil {
		if w.commits, err = object.NewWriter(ctx, w.s.o.Git, w.view(), "commit", w.dir); err != nil {
			return "", err
		}
	}
	return w.commits.Write(bytes.NewReader(raw.Bytes()))
}

// scratchDir holds objects that are needed in between and never kept.
func (w *Work) scratchDir() string { return filepath.Join(w.dir, "scratch") }
