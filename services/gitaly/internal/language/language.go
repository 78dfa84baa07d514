// Package language tells which languages a commit's tree is written in, as GitHub's
// linguist counts them. The sums of the last commit asked about are kept beside the
// repository: the next one costs what has changed since. Neither needs more memory than
// a batch of files and the directories above them.
package language

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/attribute"
	"gitsplit/services/gitaly/internal/linguist"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/storage"
)

// Sums are the languages of a commit by name.
type Sums map[string]Sum

// Sum is one language's.
type Sum struct {
	linguist.Language

	Bytes uint64 `json:"bytes"`
}

// Options is what counting needs.
type Options struct {
	Git      attribute.Git
	Linguist linguist.Options
}

// Count counts the bytes of each language in a commit, which is given by its id.
func Count(ctx context.Context, o Options, repo *storage.Repo, commit string) (Sums, error) {
	known, err := load(repo)
	if err != nil {
		return nil, err
	}
	if known.Commit == commit {
		return known.Languages, nil
	}
	objects, err := object.Open(ctx, o.Git, &repo.Repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	sums, err := count(ctx, o, repo, objects, known, commit)
	if errors.Is(err, errAnew) {
		sums, err = count(ctx, o, repo, objects, sum{}, commit)
	}
	if err != nil {
		return nil, err
	}
	return sums, save(repo, sum{Commit: commit, Languages: sums})
}

// errAnew means that the sums of another commit do not help.
var errAnew = errors.New("count anew")

func count(ctx context.Context, o Options, repo *storage.Repo, objects *object.Reader, known sum, commit string) (_ Sums, err error) {
	c := counter{ctx: ctx, o: o, repo: repo, objects: objects, sums: maps.Clone(known.Languages)}
	if c.sums == nil {
		c.sums = Sums{}
	}
	defer func() { err = errors.Join(err, c.close()) }()
	root, err := objects.RootTree(commit)
	if err != nil {
		return nil, err
	}
	c.after.commit = commit
	var before *object.Entry
	if known.Commit != "" {
		c.before.commit = known.Commit
		old, err := objects.RootTree(known.Commit)
		if errs.KindOf(err) == errs.NotFound { // pruned
			return nil, errAnew
		}
		if err != nil {
			return nil, err
		}
		before = &object.Entry{Mode: treeMode, OID: old}
	}
	if err := c.compare(before, &object.Entry{Mode: treeMode, OID: root}, 0); err != nil {
		return nil, err
	}
	return c.sums, errors.Join(c.flush(&c.before), c.flush(&c.after))
}

// counter changes the sums of one commit into those of another.
type counter struct {
	ctx           context.Context //nolint:containedctx // of the one call that it lives for
	o             Options
	repo          *storage.Repo
	objects       *object.Reader
	program       *linguist.Program // nil until there is something to ask
	sums          Sums
	before, after batch // files that went, and that came
}

// batch are files of one commit that wait to be looked at.
type batch struct {
	commit string
	files  []object.Entry
}

const (
	treeMode  = 0o040000
	batchSize = 2000
	maxDepth  = 2048 // as in object
)

// compare finds the files that differ between two entries of the same path, either of
// which may be nil. What is equal is not looked into.
func (c *counter) compare(before, after *object.Entry, depth int) error {
	if before != nil && after != nil && before.OID == after.OID && before.Mode == after.Mode {
		return nil
	}
	if depth > maxDepth {
		return errs.New(errs.FailedPrecondition, "tree is too deep")
	}
	old, err := c.entries(&c.before, before)
	if err != nil {
		return err
	}
	now, err := c.entries(&c.after, after)
	if err != nil {
		return err
	}
	were := make(map[string]*object.Entry, len(old))
	for i := range old {
		were[old[i].Path] = &old[i]
	}
	for i := range now {
		was := were[now[i].Path]
		delete(were, now[i].Path)
		if err := c.compare(was, &now[i], depth+1); err != nil {
			return err
		}
	}
	for i := range old {
		if gone := were[old[i].Path]; gone != nil {
			if err := c.compare(gone, nil, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries returns what is in a directory; a file is put into the batch instead.
func (c *counter) entries(b *batch, e *object.Entry) ([]object.Entry, error) {
	switch {
	case e == nil:
		return nil, nil
	case e.Type() == "tree":
		return c.objects.Tree(e.OID, e.Path)
	case !e.Regular():
		return nil, nil
	case isAttributes(e.Path) && c.before.commit != "": // they may speak of files that stay
		return nil, errAnew
	}
	b.files = append(b.files, *e)
	if len(b.files) < batchSize {
		return nil, nil
	}
	return nil, c.flush(b)
}

// flush looks at the files of a batch.
func (c *counter) flush(b *batch) error {
	if len(b.files) == 0 {
		return nil
	}
	attrs := make(map[string]map[string]string, len(b.files))
	paths := make([]string, 0, len(b.files))
	for _, f := range b.files {
		paths = append(paths, f.Path)
	}
	err := attribute.Check(c.ctx, c.o.Git, c.repo, b.commit, attributeNames, paths, func(i attribute.Info) {
		if attrs[i.Path] == nil {
			attrs[i.Path] = map[string]string{}
		}
		attrs[i.Path][i.Name] = i.Value
	})
	if err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	for _, f := range b.files {
		lang, size, err := c.look(f, attrs[f.Path])
		if err != nil {
			return err
		}
		if lang.Name != "" {
			c.sums.change(lang, size, b == &c.after)
		}
	}
	b.files = b.files[:0]
	return nil
}

func (s Sums) change(lang linguist.Language, size uint64, came bool) {
	sum := s[lang.Name]
	sum.Language = lang
	if came {
		sum.Bytes += size
	} else {
		sum.Bytes -= min(size, sum.Bytes)
	}
	s[lang.Name] = sum
	if sum.Bytes == 0 && !came {
		delete(s, lang.Name)
	}
}

func (c *counter) close() error {
	if c.program == nil {
		return nil
	}
	return c.program.Close()
}
