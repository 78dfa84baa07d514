package commit

import (
	"context"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	object.Git
	Lines(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, each func(line []byte) error) error
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
	Output(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, limit int) ([]byte, error)
}

// Walk says which commits of a history to visit, and in which order.
type Walk struct {
	Revisions []string // besides revisions, ^revisions and ranges: --all, --not, --branches, --tags
	Paths     []string // literal; only commits that change them
	Flags     []string // of rev-list, made by the methods below
}

// Limit bounds the number of commits; 0 does not.
func (w *Walk) Limit(n int) { w.number("--max-count=", n) }

// Skip leaves the first commits out.
func (w *Walk) Skip(n int) { w.number("--skip=", n) }

func (w *Walk) number(flag string, n int) {
	if n > 0 {
		w.Flags = append(w.Flags, flag+strconv.Itoa(n))
	}
}

// If adds a flag that is on.
func (w *Walk) If(on bool, flag string) {
	if on {
		w.Flags = append(w.Flags, flag)
	}
}

// Time bounds the committer date; flag is --since= or --until=.
func (w *Walk) Time(flag string, t time.Time) {
	if !t.IsZero() {
		w.Flags = append(w.Flags, flag+t.UTC().Format(time.RFC3339))
	}
}

// pseudo are the words that stand for many revisions, or turn their meaning.
var pseudo = map[string]bool{"--all": true, "--not": true, "--branches": true, "--tags": true} //nolint:gochecknoglobals // a constant

// spec checks the revisions (security-baseline.md V4) and puts the command together.
func (w Walk) spec(extra ...string) (gitcmd.Spec, error) {
	s := gitcmd.Spec{Name: "rev-list", Flags: append(append([]string{}, w.Flags...), extra...), Paths: w.Paths}
	if len(w.Revisions) == 0 {
		return s, errs.New(errs.Invalid, "missing revisions")
	}
	negated := false
	for _, r := range w.Revisions {
		switch {
		case r == "--not":
			negated = !negated
		case pseudo[r] && !negated:
			s.Flags = append(s.Flags, r)
		case pseudo[r]: // all of them after one --not, before the positive ones
			s.Flags = append(s.Flags, "--not", r, "--not")
		default:
			if err := ref.CheckRevision(strings.TrimPrefix(r, "^")); err != nil {
				return s, err
			}
			if negated {
				r = flip(r)
			}
			s.Args = append(s.Args, r)
		}
	}
	return s, nil
}

// flip turns a revision's meaning around. A range has two ends and keeps them.
func flip(r string) string {
	if rest, ok := strings.CutPrefix(r, "^"); ok {
		return rest
	}
	return "^" + r
}

// IDs calls each with the ids of the commits.
func IDs(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, each func(oid string) error) error {
	s, err := w.spec()
	if err != nil {
		return err
	}
	err = git.Lines(ctx, repo, s, func(line []byte) error { return each(string(line)) })
	return unknownRevision(err)
}

// unknownRevision turns git's complaint about a revision that is not there into
// errs.NotFound.
func unknownRevision(err error) error {
	if gitcmd.Exited(err, 128) {
		text := err.Error()
		for _, phrase := range []string{"bad revision", "unknown revision", "bad object", "Invalid revision range", "Not a valid"} {
			if strings.Contains(text, phrase) {
				return errs.Wrap(errs.NotFound, "revision not found", err)
			}
		}
	}
	return err
}

// List calls each with the commits of the walk, in its order.
func List(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, each func(*gitalypb.GitCommit) error) error {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	return IDs(ctx, git, repo, w, func(oid string) error {
		c, err := Read(objects, oid)
		if err != nil {
			return err
		}
		return each(c)
	})
}

// Read reads the commit that a revision stands for, through tags. What is not there
// or is no commit is errs.NotFound.
func Read(objects *object.Reader, revision string) (*gitalypb.GitCommit, error) {
	info, raw, err := objects.Contents(revision+"^{commit}", "commit")
	if err != nil {
		return nil, err
	}
	return Parse(info.OID, raw)
}

// Find is Read for a single question.
func Find(ctx context.Context, git Git, repo *gitcmd.Repo, revision string) (*gitalypb.GitCommit, error) {
	if err := ref.CheckRevision(revision); err != nil {
		return nil, err
	}
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	return Read(objects, revision)
}

// Count counts the commits of the walk.
func Count(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk) (int, error) {
	s, err := w.spec("--count")
	if err != nil {
		return 0, err
	}
	out, err := git.Output(ctx, repo, s, 100)
	if err != nil {
		return 0, unknownRevision(err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// IsAncestor reports whether one commit is reachable from another. A commit that is
// not there is errs.NotFound.
func IsAncestor(ctx context.Context, git Git, repo *gitcmd.Repo, ancestor, child string) (bool, error) {
	for _, r := range []string{ancestor, child} {
		if err := ref.CheckRevision(r); err != nil {
			return false, err
		}
	}
	err := git.Run(ctx, repo, gitcmd.Spec{Name: "merge-base", Flags: []string{"--is-ancestor"}, Args: []string{ancestor, child}})
	if gitcmd.Exited(err, 1) {
		return false, nil
	}
	return err == nil, unknownRevision(err)
}

// MergeBase returns a best common ancestor of the revisions, "" if there is none.
func MergeBase(ctx context.Context, git Git, repo *gitcmd.Repo, revisions []string) (string, error) {
	for _, r := range revisions {
		if err := ref.CheckRevision(r); err != nil {
			return "", err
		}
	}
	out, err := git.Output(ctx, repo, gitcmd.Spec{Name: "merge-base", Args: revisions}, 4096)
	if gitcmd.Exited(err, 1) {
		return "", nil
	}
	if err != nil {
		return "", unknownRevision(err)
	}
	base, _, _ := strings.Cut(string(out), "\n")
	return base, nil
}
