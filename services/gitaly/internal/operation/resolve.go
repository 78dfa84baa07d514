package operation

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/conflict"
	"gitsplit/services/gitaly/internal/object"
)

// ConflictFile is a file that two commits changed in ways that do not fit.
type ConflictFile struct {
	// The versions; nil on a side that does not have the file.
	Ancestor, Ours, Theirs *object.Entry
}

// Path is where the file is in the merge with conflict markers.
func (f ConflictFile) Path() string {
	for _, e := range []*object.Entry{f.Ours, f.Theirs, f.Ancestor} {
		if e != nil {
			return e.Path
		}
	}
	return ""
}

// ByFile groups the versions by path, in the order of the merge.
func (c *Conflict) ByFile() []ConflictFile {
	var files []ConflictFile
	for _, s := range c.Stages {
		if n := len(files); n == 0 || files[n-1].Path() != s.Path {
			files = append(files, ConflictFile{})
		}
		f, entry := &files[len(files)-1], s.Entry
		switch s.Number {
		case 1:
			f.Ancestor = &entry
		case 2:
			f.Ours = &entry
		case 3:
			f.Theirs = &entry
		}
	}
	return files
}

// maxShown is the largest file in conflict that is held, in bytes.
const maxShown = 16 << 20

// Merged reads a file of the merge with its conflict markers.
func (w *Work) Merged(c *Conflict, path string) (object.Entry, []byte, error) {
	entry, err := w.Objects.Find(c.Tree, path)
	if err != nil {
		return entry, nil, err
	}
	info, err := w.Objects.Info(entry.OID)
	if err != nil {
		return entry, nil, err
	}
	if entry.Type() != "blob" || info.Size > maxShown {
		return entry, nil, errs.Newf(errs.FailedPrecondition, "%s for %q", conflict.ErrUnmergeable, path)
	}
	_, content, err := w.Objects.Contents(entry.OID, "blob")
	return entry, content, err
}

// Resolution is what a person has decided for one file: sections, else the whole
// content.
type Resolution struct {
	OldPath  string           `json:"old_path"`
	NewPath  string           `json:"new_path"`
	Sections conflict.Choices `json:"sections"`
	Content  string           `json:"content"`
}

// ResolveConflicts merges two commits, puts the resolutions in place of the conflicts
// and returns the tree. A resolution that is missing or does not fit is
// *conflict.Unresolved.
func (w *Work) ResolveConflicts(ctx context.Context, ours, theirs string, resolutions []Resolution) (_ string, err error) {
	tree, err := w.MergeTrees(ctx, ours, theirs)
	var c *Conflict
	if !errors.As(err, &c) {
		return tree, err
	}
	open := map[string]ConflictFile{}
	for _, f := range c.ByFile() {
		open[f.Path()] = f
	}
	if len(open) == 0 { // directories alone, which nobody can decide about here
		return "", errs.Wrap(errs.FailedPrecondition, c.Error(), c)
	}
	files := w.Files(c.Tree)
	defer func() { err = errors.Join(err, files.Close()) }()
	for _, r := range resolutions {
		f, ok := open[r.NewPath]
		if !ok {
			return "", errs.Newf(errs.Invalid, "there is no conflict in %q", r.NewPath)
		}
		delete(open, r.NewPath)
		if err := w.resolve(ctx, files, c, f, r, ours, theirs); err != nil {
			return "", err
		}
	}
	if len(open) > 0 {
		var names []string
		for name := range open {
			names = append(names, name)
		}
		slices.Sort(names)
		return "", &conflict.Unresolved{Text: "Missing resolutions for the following files: " + strings.Join(names, ", ")}
	}
	return files.Tree(ctx)
}

func (w *Work) resolve(ctx context.Context, files *Files, c *Conflict, f ConflictFile, r Resolution, ours, theirs string) error {
	entry, content, err := w.Merged(c, r.NewPath)
	if err != nil {
		return err
	}
	if r.Content != "" && string(conflict.Show(content, ours, theirs, r.OldPath, r.NewPath)) == r.Content {
		return &conflict.Unresolved{Text: "Resolved content has no changes for file " + r.NewPath}
	}
	decided := []byte(r.Content)
	if len(r.Sections) > 0 {
		endsOpen, err := w.endsOpen(f.Ours)
		if err != nil {
			return err
		}
		decided, err = conflict.Between(ours, theirs, r.OldPath, r.NewPath).Resolve(content, r.NewPath, r.Sections, endsOpen)
		if err != nil {
			return unmergeable(err)
		}
	}
	return files.put(ctx, r.NewPath, r.NewPath, entry.Mode, bytes.NewReader(decided))
}

// endsOpen reports whether a file has no line break at its end.
func (w *Work) endsOpen(e *object.Entry) (bool, error) {
	if e == nil {
		return false, nil
	}
	_, content, err := w.Objects.Contents(e.OID, "blob")
	return len(content) > 0 && content[len(content)-1] != '\n', err
}

// unmergeable gives the failures of the conflict package their kinds.
func unmergeable(err error) error {
	switch {
	case errors.Is(err, conflict.ErrDelimiter), errors.Is(err, conflict.ErrNoEnd):
		return errs.New(errs.Invalid, err.Error())
	case errors.Is(err, conflict.ErrUnmergeable):
		return errs.New(errs.FailedPrecondition, err.Error())
	}
	return err
}
