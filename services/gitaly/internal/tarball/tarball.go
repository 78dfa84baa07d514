// Package tarball packs files that lie below a root into a tar stream, and takes them
// out again. What others can change meanwhile, and what others sent, cannot lead out
// of the root.
package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Writer packs files.
type Writer struct{ tw *tar.Writer }

// NewWriter returns a writer of a tar stream. Close must be called.
func NewWriter(w io.Writer) *Writer { return &Writer{tar.NewWriter(w)} }

// Close ends the stream.
func (w *Writer) Close() error { return w.tw.Close() }

// File packs one file, directory or symbolic link. What is not there, or something
// else, is passed over.
func (w *Writer) File(root *os.Root, name, as string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pack %q: %w", name, err)
	}
	switch {
	case info.IsDir():
		return w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: as + "/", Mode: mode(info), ModTime: info.ModTime()})
	case info.Mode()&os.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return fmt.Errorf("pack %q: %w", name, err)
		}
		return w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: as, Linkname: target, ModTime: info.ModTime()})
	case info.Mode().IsRegular():
		return w.regular(root, name, as)
	}
	return nil
}

func mode(info fs.FileInfo) int64 { return int64(info.Mode().Perm()) }

// regular packs the file as long as it is when it is opened: one that grows is cut,
// one that shrinks fails.
func (w *Writer) regular(root *os.Root, name, as string) error {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // vanished
	}
	if err != nil {
		return fmt.Errorf("pack %q: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("pack %q: %w", name, err)
	}
	head := &tar.Header{Typeflag: tar.TypeReg, Name: as, Size: info.Size(), Mode: mode(info), ModTime: info.ModTime()}
	if err := w.tw.WriteHeader(head); err != nil {
		return err
	}
	if _, err := io.CopyN(w.tw, f, info.Size()); err != nil {
		return fmt.Errorf("pack %q: %w", name, err)
	}
	return nil
}

// Tree packs dir and what is below it, in the order of names, if wanted says so of the
// path below dir, which ends in a slash for directories; nil wants all.
func (w *Writer) Tree(ctx context.Context, root *os.Root, dir, as string, wanted func(rel string) bool) error {
	if _, err := root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // vanished
		}
		if err != nil {
			return err
		}
		rel := below(dir, name)
		switch {
		case rel == "" || wanted == nil:
		case d.IsDir() && !wanted(rel+"/"):
			return fs.SkipDir
		case !d.IsDir() && !wanted(rel):
			return nil
		}
		return w.File(root, name, path.Join(as, rel))
	})
	if err != nil {
		return fmt.Errorf("pack %q: %w", dir, err)
	}
	return nil
}

// below is the path of name from dir on; "" for dir itself.
func below(dir, name string) string {
	if name == dir {
		return ""
	}
	return strings.TrimPrefix(name, dir+"/")
}
