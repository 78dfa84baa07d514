package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// maxWritten is the largest object that is written (security-baseline.md §12).
const maxWritten = 1 << 30

// Writer writes objects of one type: one git for all of them. Content passes through
// a file, so that git can stream what is large. It is not safe for concurrent use.
type Writer struct {
	d    *dialogue
	file string
}

// NewWriter starts git for objects of a type, commit or blob. dir is a directory of
// the caller's own, free of a file named after the type. Close must be called.
func NewWriter(ctx context.Context, git Starter, repo *gitcmd.Repo, typ, dir string, config ...gitcmd.Config) (*Writer, error) {
	d, err := converse(ctx, git, repo, gitcmd.Spec{
		Name: "hash-object", Flags: []string{"-t" + typ, "-w", "--no-filters", "--stdin-paths"}, Config: config,
	})
	if err != nil {
		return nil, err
	}
	return &Writer{d: d, file: filepath.Join(dir, typ)}, nil
}

// Write writes one object and returns its id.
func (w *Writer) Write(content io.Reader) (string, error) {
	f, err := os.OpenFile(w.file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("write object: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(content, maxWritten+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write object: %w", err)
	}
	if n > maxWritten {
		return "", errs.Newf(errs.FailedPrecondition, "object is larger than %d bytes", maxWritten)
	}
	oid, err := w.d.oid(w.file + "\n")
	if err != nil {
		return "", fmt.Errorf("write object: %w", err)
	}
	return oid, os.Remove(w.file)
}

// Close ends git.
func (w *Writer) Close() error { return w.d.end() }
