// Package archive packs the files of a commit. git writes tar and zip; the tar is
// compressed here, because git would start a shell to have it done.
package archive

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/dsnet/compress/bzip2"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	object.Git
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
}

// Format is the kind of an archive file.
type Format int

// The kinds.
const (
	Zip Format = iota
	Tar
	TarGzip
	TarBzip2
)

// Request says what to pack, and how.
type Request struct {
	Revision string // of a commit or tree
	Prefix   string // directory that everything is put into; "" for none
	Format   Format
	Path     string   // of the files to pack; "" for all
	Exclude  []string // paths of files to leave out
	Elide    bool     // leave Path out of the names in the archive
}

// Limits bound an archive (security-baseline.md §12).
type Limits struct {
	Size int64 // in bytes, as sent
	Time time.Duration
}

// DefaultLimits are those of the baseline.
var DefaultLimits = Limits{Size: 2 << 30, Time: 10 * time.Minute} //nolint:gochecknoglobals // a constant

// Write writes the archive. A revision or path that is not there is
// errs.FailedPrecondition, an archive over the limit errs.Exhausted.
func Write(ctx context.Context, git Git, repo *gitcmd.Repo, req Request, l Limits, w io.Writer) error {
	s, err := prepare(ctx, git, repo, req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Time)
	defer cancel()
	out, err := compress(req.Format, &limited{w: w, left: l.Size})
	if err != nil {
		return err
	}
	s.Stdout = out
	return errors.Join(git.Run(ctx, repo, s), out.Close())
}

// prepare finds what the request names and puts the command together. git sees ids,
// and literal paths behind "--".
func prepare(ctx context.Context, git Git, repo *gitcmd.Repo, req Request) (gitcmd.Spec, error) {
	s := gitcmd.Spec{Name: "archive"}
	if err := ref.CheckRevision(req.Revision); err != nil {
		return s, errs.Newf(errs.Invalid, "invalid commitId: %s", errs.Message(err))
	}
	prefix, err := cleanPrefix(req.Prefix)
	if err != nil {
		return s, err
	}
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return s, err
	}
	defer func() { _ = objects.Close() }()
	src, err := find(objects, req)
	if err != nil {
		return s, err
	}
	s.Args, s.Paths, s.Exclude = []string{src.oid}, src.paths, src.exclude
	s.Flags = []string{"--format=tar"}
	if req.Format == Zip {
		s.Flags[0] = "--format=zip"
	}
	if prefix != "" {
		s.Flags = append(s.Flags, "--prefix="+prefix)
	}
	return s, nil
}

// cleanPrefix is the prefix with a slash at its end. Whoever unpacks the archive must
// find everything below one directory.
func cleanPrefix(prefix string) (string, error) {
	if strings.ContainsRune(prefix, 0) || path.IsAbs(prefix) || len(prefix) > 4096 {
		return "", errs.New(errs.Invalid, "invalid prefix")
	}
	clean := path.Clean(prefix)
	switch {
	case clean == ".":
		return "", nil
	case clean == "..", strings.HasPrefix(clean, "../"):
		return "", errs.New(errs.Invalid, "invalid prefix")
	}
	return clean + "/", nil
}

// source is a tree or commit and the paths in it.
type source struct {
	oid            string
	paths, exclude []string
}

func find(objects *object.Reader, req Request) (source, error) {
	root, err := objects.RootTree(req.Revision)
	if errs.KindOf(err) == errs.NotFound {
		return source{}, errs.Wrap(errs.FailedPrecondition, "revision doesn't exist", err)
	}
	if err != nil {
		return source{}, err
	}
	src := source{oid: root}
	if info, err := objects.Info(req.Revision + "^{commit}"); err == nil {
		src.oid = info.OID // git writes a commit's id and time into the archive
	}
	dir, err := locate(objects, root, req.Path, "path doesn't exist")
	if err != nil {
		return source{}, err
	}
	if entries, err := objects.Tree(root, ""); err == nil && len(entries) == 0 {
		return source{}, errs.New(errs.FailedPrecondition, "path doesn't exist")
	}
	if err := src.leaveOut(objects, root, dir.Path, req); err != nil {
		return source{}, err
	}
	switch {
	case dir.Path == "":
	case !req.Elide:
		src.paths = []string{dir.Path}
	case dir.Type() != "tree":
		return source{}, errs.New(errs.Invalid, "path is not a directory")
	default:
		src.oid = dir.OID
	}
	return src, nil
}

// leaveOut checks the excluded paths; below an elided one they are relative to it.
func (s *source) leaveOut(objects *object.Reader, root, dir string, req Request) error {
	for i, name := range req.Exclude {
		entry, err := locate(objects, root, name, "")
		if errs.KindOf(err) == errs.FailedPrecondition {
			return errs.Newf(errs.FailedPrecondition, "exclude[%d] doesn't exist", i)
		}
		if err != nil {
			return err
		}
		out := entry.Path
		if req.Elide && dir != "" {
			below := false
			if out, below = strings.CutPrefix(out, dir+"/"); !below {
				return errs.Newf(errs.Invalid, "invalid exclude: %q is not a subdirectory of %q", entry.Path, dir)
			}
		}
		if out == "" {
			return errs.New(errs.Invalid, "invalid exclude: nothing would be left")
		}
		s.exclude = append(s.exclude, out)
	}
	return nil
}

func locate(objects *object.Reader, root, name, missing string) (object.Entry, error) {
	clean, err := object.CleanPath(name)
	if err != nil {
		return object.Entry{}, err
	}
	entry, err := objects.Find(root, clean)
	if errs.KindOf(err) == errs.NotFound {
		return entry, errs.Wrap(errs.FailedPrecondition, missing, err)
	}
	return entry, err
}

// compress puts the format's compression before w; closing it leaves w open.
func compress(f Format, w io.Writer) (io.WriteCloser, error) {
	switch f {
	case TarGzip:
		return gzip.NewWriter(w), nil
	case TarBzip2:
		return bzip2.NewWriter(w, &bzip2.WriterConfig{Level: bzip2.BestCompression})
	case Zip, Tar:
		return nopCloser{w}, nil
	}
	return nil, errs.New(errs.Invalid, "invalid format")
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// limited fails once too much was written.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errs.New(errs.Exhausted, "archive is too large")
	}
	return l.w.Write(p)
}
