package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Blame asks which commit wrote each line of a file.
type Blame struct {
	Revision string
	Path     string // clean
	Range    string // "<first>,<last>", counted from 1; "" is the whole file
	// Ignore names a blob with the ids of commits to look past, as a revision or as
	// <revision>:<path>; "" names none.
	Ignore string
}

// What is wrong with a question to Blame, in the chain of an *errs.Error.
var (
	ErrNoPath        = errors.New("path not found in revision")
	ErrNoIgnoreRevs  = errors.New("cannot resolve ignore-revs blob")
	ErrNotIgnoreRevs = errors.New("ignore revision is not a blob")
)

// RangeError says that a range begins behind the end of the file.
type RangeError struct{ Lines uint64 }

// Error tells the length.
func (e *RangeError) Error() string { return fmt.Sprintf("file has only %d lines", e.Lines) }

// IgnoreFormatError says that the list of commits to look past holds something else.
type IgnoreFormatError struct{ Content string }

// Error tells what it holds.
func (e *IgnoreFormatError) Error() string { return fmt.Sprintf("invalid object name %q", e.Content) }

var blameRange = regexp.MustCompile(`^[0-9]{1,9},[0-9]{1,9}$`)

// Write writes the answer in git's porcelain format.
func (b Blame) Write(ctx context.Context, git Git, repo *gitcmd.Repo, w io.Writer) error {
	if err := ref.CheckRevision(b.Revision); err != nil {
		return err
	}
	s := gitcmd.Spec{Name: "blame", Flags: []string{"--porcelain"}, Args: []string{b.Revision}, Paths: []string{b.Path}, Stdout: w}
	if b.Range != "" {
		if !blameRange.MatchString(b.Range) {
			return errs.New(errs.Invalid, "invalid Range")
		}
		s.Flags = append(s.Flags, "-L"+b.Range)
	}
	if b.Ignore != "" {
		list, err := b.ignored(ctx, git, repo)
		if err != nil {
			return err
		}
		s.Stdin = bytes.NewReader(list)
		s.Flags = append(s.Flags, "--ignore-revs-file=/dev/stdin")
	}
	return explainBlame(git.Run(ctx, repo, s))
}

// maxIgnore bounds a list of commits to look past: some 100,000 of them.
const maxIgnore = 4 << 20

// ignored reads the list of commits to look past.
func (b Blame) ignored(ctx context.Context, git Git, repo *gitcmd.Repo) ([]byte, error) {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	oid, err := b.ignoredID(objects)
	if errs.KindOf(err) == errs.NotFound {
		return nil, errs.Wrap(errs.NotFound, ErrNoIgnoreRevs.Error(), errors.Join(ErrNoIgnoreRevs, err))
	}
	if err != nil {
		return nil, err
	}
	info, err := objects.Info(oid)
	switch {
	case err != nil:
		return nil, err
	case info.Type != "blob":
		return nil, errs.Wrap(errs.Invalid, ErrNotIgnoreRevs.Error(), ErrNotIgnoreRevs)
	case info.Size > maxIgnore:
		return nil, errs.New(errs.FailedPrecondition, "ignore-revs blob is too large")
	}
	_, list, err := objects.Contents(oid, "blob")
	return list, err
}

func (b Blame) ignoredID(objects *object.Reader) (string, error) {
	revision, path, hasPath := strings.Cut(b.Ignore, ":")
	if err := ref.CheckRevision(revision); err != nil {
		return "", err
	}
	if !hasPath {
		info, err := objects.Info(revision)
		return info.OID, err
	}
	clean, err := object.CleanPath(path)
	if err != nil {
		return "", err
	}
	root, err := objects.RootTree(revision)
	if err != nil {
		return "", err
	}
	entry, err := objects.Find(root, clean)
	return entry.OID, err
}

var (
	linesText  = regexp.MustCompile(`(?m)^fatal: file .* has only ([0-9]+) lines?$`)
	objectText = regexp.MustCompile(`(?m)^fatal: invalid object name: (.*)$`)
)

// explainBlame tells the caller's mistakes from git's failures.
func explainBlame(err error) error {
	var failed *gitcmd.Error
	if !errors.As(err, &failed) {
		return err
	}
	if strings.HasPrefix(failed.Stderr, "fatal: no such path ") {
		return errs.Wrap(errs.NotFound, ErrNoPath.Error(), errors.Join(ErrNoPath, err))
	}
	if m := linesText.FindStringSubmatch(failed.Stderr); m != nil {
		if n, parseErr := strconv.ParseUint(m[1], 10, 64); parseErr == nil {
			return errs.Wrap(errs.Invalid, "range is outside of the file length", errors.Join(&RangeError{Lines: n}, err))
		}
	}
	if m := objectText.FindStringSubmatch(failed.Stderr); m != nil {
		return errs.Wrap(errs.NotFound, "invalid object name", errors.Join(&IgnoreFormatError{Content: m[1]}, err))
	}
	if strings.HasPrefix(failed.Stderr, "fatal: -L invalid") {
		return errs.Wrap(errs.Invalid, "invalid Range", err)
	}
	return unknownRevision(err)
}
