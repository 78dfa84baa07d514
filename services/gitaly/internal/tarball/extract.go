package tarball

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"gitsplit/kit/errs"
)

// Limits bound what is taken out of a tar stream.
type Limits struct {
	Entries int
	Size    int64 // of all files, in bytes
}

// Extract takes the directory named dir out of a tar stream and puts it below root,
// made durable. Files and directories are for us alone, as the storage is; programs
// stay programs. A stream without anything leaves root empty. What is no tar stream,
// lies elsewhere, is a device, or exceeds the limits, is errs.Invalid.
func Extract(root *os.Root, dir string, r io.Reader, l Limits) error {
	x := extractor{root: root, left: l.Size, dirs: map[string]bool{".": true}}
	for tr := tar.NewReader(r); ; {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return x.sync()
		}
		if err != nil {
			return malformed(err)
		}
		if l.Entries--; l.Entries < 0 {
			return errs.New(errs.Invalid, "tar file has too many entries")
		}
		name := path.Clean(head.Name)
		if name != dir && !strings.HasPrefix(name, dir+"/") || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
			return errs.Newf(errs.Invalid, "tar entry %q is not below %s", head.Name, dir)
		}
		if err := x.entry(name, head, tr); err != nil {
			return err
		}
	}
}

// malformed tells a bad tar file from a reader that failed.
func malformed(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return errs.Wrap(errs.Invalid, "malformed tar file", err)
	}
	return err
}

type extractor struct {
	root *os.Root
	left int64
	dirs map[string]bool // made here, to be synced
}

func (x *extractor) entry(name string, head *tar.Header, r io.Reader) error {
	if err := x.mkdir(path.Dir(name)); err != nil {
		return x.failed(head.Name, err)
	}
	switch typ := head.Typeflag; {
	case typ != tar.TypeDir && !strings.Contains(name, "/"):
		return errs.Newf(errs.Invalid, "tar entry %q is not a directory", head.Name)
	case typ == tar.TypeDir:
		return x.failed(head.Name, x.mkdir(name))
	case typ == tar.TypeSymlink:
		return x.failed(head.Name, x.root.Symlink(head.Linkname, name))
	case typ == tar.TypeReg:
		if x.left -= head.Size; x.left < 0 {
			return errs.New(errs.Invalid, "tar file is too large")
		}
		return x.failed(head.Name, x.file(name, head, r))
	}
	return errs.Newf(errs.Invalid, "tar entry %q is neither a file nor a directory", head.Name)
}

// failed blames the tar file for names that clash or lead through links.
func (x *extractor) failed(name string, err error) error {
	var p *fs.PathError
	var link *os.LinkError
	if errors.As(err, &p) || errors.As(err, &link) {
		return errs.Wrap(errs.Invalid, "cannot unpack tar entry "+name, err)
	}
	return malformed(err)
}

func (x *extractor) mkdir(name string) error {
	if x.dirs[name] {
		return nil
	}
	if err := x.root.MkdirAll(name, 0o700); err != nil {
		return err
	}
	for ; !x.dirs[name]; name = path.Dir(name) {
		x.dirs[name] = true
	}
	return nil
}

func (x *extractor) file(name string, head *tar.Header, r io.Reader) error {
	perm := os.FileMode(0o600)
	if head.Mode&0o111 != 0 {
		perm = 0o700
	}
	f, err := x.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync makes the names durable (security-baseline.md D1).
func (x *extractor) sync() error {
	for name := range x.dirs {
		d, err := x.root.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}
