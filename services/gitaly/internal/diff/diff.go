// Package diff says what changed between two states of a repository. git compares;
// this package reads what it prints, as it comes and without holding more than a
// file's facts and a bounded part of its patch.
//
// The one idea: what git says about a file and the file's patch are read from two git
// processes side by side, in the same order. A patch names its file in a form that is
// made for people, and some files have none; so a patch is never searched for a name,
// but compared with the header that git would print for the file that is next.
package diff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Reader(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Reader, error)
	Start(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Process, error)
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
	Output(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, limit int) ([]byte, error)
}

// Whitespace says which changes of white space do not count.
type Whitespace int

// All changes count, those of its amount do not, none do.
const (
	WhitespaceCounts Whitespace = iota
	IgnoreSpaceChange
	IgnoreAllSpace
)

// Range is what to compare: two revisions, and literal paths if not everything.
type Range struct {
	Left, Right string
	Paths       []string
}

// check refuses revisions that must not reach git.
func (r Range) check() error {
	for _, rev := range []string{r.Left, r.Right} {
		if err := ref.CheckRevision(rev); err != nil {
			return err
		}
	}
	return nil
}

// spec is a git diff-tree, which unlike git diff reads no settings for the looks.
func (r Range) spec(flags ...string) gitcmd.Spec {
	flags = slices.Concat([]string{"-r"}, safe(), flags)
	return gitcmd.Spec{Name: "diff-tree", Flags: flags, Args: []string{r.Left, r.Right}, Paths: r.Paths}
}

// safe keeps git from running the programs, and using the colours, that a repository's
// settings may name.
func safe() []string { return []string{"--no-ext-diff", "--no-textconv", "--no-color"} }

// failed turns git's failure to compare into errs.FailedPrecondition: as a rule one of
// the revisions does not exist.
func failed(err error) error {
	if gitcmd.Exited(err, 1, 128, 129) {
		return errs.Wrap(errs.FailedPrecondition, "revisions cannot be compared", err)
	}
	return err
}

// Raw writes the patch between two revisions.
func Raw(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, w io.Writer) error {
	if err := r.check(); err != nil {
		return err
	}
	s := r.spec("--patch", "--full-index", "--find-renames")
	s.Stdout = w
	return failed(git.Run(ctx, repo, s))
}

// Mails writes the commits that Right has and Left has not, one mail for each.
func Mails(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, w io.Writer) error {
	if err := r.check(); err != nil {
		return err
	}
	return failed(git.Run(ctx, repo, gitcmd.Spec{
		Name: "format-patch", Flags: append(safe(), "--stdout", "--signature=GitLab"), Args: []string{r.Left + ".." + r.Right}, Stdout: w,
	}))
}

// Changes calls each for every changed file, without patches. A file that became a
// link, or the like, is two changes: one went, one came.
func Changes(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, each func(Change) error) error {
	return changes(ctx, git, repo, r, splitTypes, each)
}

// Entries is Changes, but a file that became a link, or the like, is one change: T.
func Entries(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, each func(Change) error) error {
	return changes(ctx, git, repo, r, func(next source) source { return next }, each)
}

// source gives change after change, and io.EOF at the end.
type source = func() (Change, error)

func changes(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, form func(source) source, each func(Change) error) error {
	if err := r.check(); err != nil {
		return err
	}
	out, err := git.Reader(ctx, repo, r.spec("--raw", "-z", "--no-abbrev", "--find-renames"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	next := form(newRawReader(out).next)
	for {
		c, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(err)
		}
		if err := each(c); err != nil {
			return err
		}
	}
}

// maxPath is the longest path that is followed, in bytes; git itself has no limit.
const maxPath = 512 << 10

// readUntil reads up to and without the delimiter, at most limit bytes. At the end of
// the input it returns io.EOF, and io.ErrUnexpectedEOF behind a part.
func readUntil(r *bufio.Reader, delim byte, limit int) ([]byte, error) {
	var token []byte
	for {
		part, err := r.ReadSlice(delim)
		if len(token)+len(part) > limit {
			return nil, gitcmd.ErrTooLong
		}
		token = append(token, part...)
		switch {
		case err == nil:
			return token[:len(token)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(token) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// malformed is an answer of git that is not understood.
func malformed(what string, line []byte) error {
	return fmt.Errorf("malformed %s of git: %.200q", what, line)
}
