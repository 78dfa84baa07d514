package operation

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
)

// Modes of entries that are made here.
const (
	modeFile       = 0o100644
	modeExecutable = 0o100755
	modeSymlink    = 0o120000
)

// PathFault says why a change to one path is not possible.
type PathFault struct {
	Path string // as it was given
	Type gitalypb.IndexError_ErrorType
}

// Error has GitLab's words.
func (f *PathFault) Error() string {
	switch f.Type {
	case gitalypb.IndexError_ERROR_TYPE_EMPTY_PATH:
		return "You must provide a file path"
	case gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS:
		return "A directory with this name already exists"
	case gitalypb.IndexError_ERROR_TYPE_DIRECTORY_TRAVERSAL:
		return "Path cannot include directory traversal"
	case gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS:
		return "A file with this name already exists"
	case gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND:
		return "A file with this name doesn't exist"
	case gitalypb.IndexError_ERROR_TYPE_INVALID_PATH, gitalypb.IndexError_ERROR_TYPE_UNSPECIFIED:
	}
	return fmt.Sprintf("invalid path: %q", f.Path)
}

// maxPath is the longest path that is written, in bytes: PATH_MAX of those who check
// the files out.
const maxPath = 4096

// cleanPath normalises a path; one that git does not let into a tree is a *PathFault.
func cleanPath(given string) (string, error) {
	clean := path.Clean(strings.TrimPrefix(given, "/"))
	fault := func(t gitalypb.IndexError_ErrorType) (string, error) { return "", &PathFault{given, t} }
	switch {
	case given == "":
		return fault(gitalypb.IndexError_ERROR_TYPE_EMPTY_PATH)
	case clean == "..", strings.HasPrefix(clean, "../"):
		return fault(gitalypb.IndexError_ERROR_TYPE_DIRECTORY_TRAVERSAL)
	case len(given) > maxPath, strings.Contains(given, "//"), !object.ValidPath(clean, false):
		return fault(gitalypb.IndexError_ERROR_TYPE_INVALID_PATH)
	}
	return clean, nil
}

// newPath is cleanPath for what is made: tools that people use would take a path that
// begins with a dash for an option.
func newPath(given string) (string, error) {
	clean, err := cleanPath(given)
	if err == nil && clean[0] == '-' {
		return "", &PathFault{given, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH}
	}
	return clean, err
}

// Files is a tree whose files are changed one by one. Close must be called.
type Files struct {
	w     *Work
	tree  *object.Edit
	blobs *object.Writer // nil until needed
}

// Files begins with a tree; "" is an empty one.
func (w *Work) Files(tree string) *Files {
	return &Files{w: w, tree: object.NewEdit(w.Objects, tree)}
}

// Close ends what writes the files.
func (f *Files) Close() error {
	if f.blobs == nil {
		return nil
	}
	return f.blobs.Close()
}

// Tree writes the changed tree and returns its id.
func (f *Files) Tree(ctx context.Context) (string, error) {
	return f.tree.Write(ctx, f.w.s.o.Git, f.w.view())
}

// Create makes a file that must not exist.
func (f *Files) Create(ctx context.Context, given string, executable bool, content io.Reader) error {
	clean, err := newPath(given)
	if err != nil {
		return err
	}
	if err := f.absent(clean, given); err != nil {
		return err
	}
	mode := int32(modeFile)
	if executable {
		mode = modeExecutable
	}
	return f.put(ctx, clean, given, mode, content)
}

// CreateDir makes a directory that must not exist, with an empty .gitkeep in it, for
// git has no empty directories.
func (f *Files) CreateDir(ctx context.Context, given string) error {
	clean, err := newPath(given)
	if err != nil {
		return err
	}
	if err := f.absent(clean, given); err != nil {
		return err
	}
	return f.put(ctx, clean+"/.gitkeep", given, modeFile, strings.NewReader(""))
}

// Update replaces the content of a file.
func (f *Files) Update(ctx context.Context, given string, content io.Reader) error {
	clean, err := cleanPath(given)
	if err != nil {
		return err
	}
	entry, err := f.file(clean, given)
	if err != nil {
		return err
	}
	return f.put(ctx, clean, given, entry.Mode, content)
}

// Move renames a file; nil keeps its content.
func (f *Files) Move(ctx context.Context, from, given string, content io.Reader) error {
	clean, err := newPath(given)
	if err != nil {
		return err
	}
	source, err := cleanPath(from)
	if err != nil {
		return err
	}
	entry, err := f.file(source, from)
	if err != nil {
		return err
	}
	if entry.Mode == modeSymlink && !object.ValidPath(clean, true) {
		return &PathFault{given, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH}
	}
	if err := f.tree.Remove(source); err != nil {
		return err
	}
	if err := f.absent(clean, given); err != nil {
		return err
	}
	if content == nil {
		return occupied(f.tree.Set(clean, entry.Mode, entry.OID), given)
	}
	return f.put(ctx, clean, given, entry.Mode, content)
}

// Delete removes a file, or a directory with all that is in it.
func (f *Files) Delete(given string) error {
	clean, err := cleanPath(given)
	if err != nil {
		return err
	}
	return missing(f.tree.Remove(clean), given)
}

// Chmod makes a file executable, or not.
func (f *Files) Chmod(given string, executable bool) error {
	clean, err := cleanPath(given)
	if err != nil {
		return err
	}
	entry, err := f.file(clean, given)
	if err != nil {
		return err
	}
	mode := int32(modeFile)
	switch {
	case entry.Mode == modeSymlink:
		return missing(errs.New(errs.NotFound, "not a plain file"), given)
	case executable:
		mode = modeExecutable
	}
	return f.tree.Set(clean, mode, entry.OID)
}

// put writes a file.
func (f *Files) put(ctx context.Context, clean, given string, mode int32, content io.Reader) (err error) {
	if f.blobs == nil {
		if f.blobs, err = object.NewWriter(ctx, f.w.s.o.Git, f.w.view(), "blob", f.w.dir); err != nil {
			return err
		}
	}
	oid, err := f.blobs.Write(content)
	if err != nil {
		return err
	}
	return occupied(f.tree.Set(clean, mode, oid), given)
}

// file finds a file that must be there.
func (f *Files) file(clean, given string) (object.Entry, error) {
	entry, err := f.tree.Get(clean)
	if err == nil && entry.Type() != "blob" {
		err = errs.New(errs.NotFound, "not a file")
	}
	return entry, missing(err, given)
}

// absent makes sure that nothing is at a path.
func (f *Files) absent(clean, given string) error {
	entry, err := f.tree.Get(clean)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return nil
	case err != nil:
		return err
	case entry.Type() != "blob":
		return &PathFault{given, gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS}
	}
	return &PathFault{given, gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS}
}

func missing(err error, given string) error {
	if errs.KindOf(err) == errs.NotFound {
		return &PathFault{given, gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND}
	}
	return err
}

// occupied is for a file where a directory would have to be.
func occupied(err error, given string) error {
	if errs.KindOf(err) == errs.Exists {
		return &PathFault{given, gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS}
	}
	return err
}
