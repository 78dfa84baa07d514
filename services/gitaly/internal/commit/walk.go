package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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

	Trailers     bool     // fill in those of the messages
	ReferencedBy []string // patterns of references to name with the commits; for Log only
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
	return s, w.checkSize()
}

// What the system lets us give a program: one argument of 128 KiB, 2 MiB in all with
// the environment.
const (
	maxArgument  = 100 << 10
	maxArguments = 1 << 20
)

// checkSize refuses what could not be given to git as arguments.
func (w Walk) checkSize() error {
	total := 0
	for _, arg := range slices.Concat(w.Revisions, w.Paths, w.Flags, w.ReferencedBy) {
		if strings.ContainsRune(arg, 0) {
			return errs.New(errs.Invalid, "NUL in a path or pattern")
		}
		if total += len(arg) + pointerSize; len(arg) > maxArgument || total > maxArguments {
			return errs.New(errs.Invalid, "too many or too long revisions, paths or patterns")
		}
	}
	return nil
}

const pointerSize = 8

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

// How a revision can be unknown, in the chain of an errs.NotFound.
var (
	ErrNoName   = errors.New("no such reference or object name")
	ErrNoObject = errors.New("no such object")
	ErrNoRange  = errors.New("no such range")
)

var unknownTexts = []struct { //nolint:gochecknoglobals // a constant
	phrase string
	err    error
}{
	{"Invalid revision range", ErrNoRange}, {"bad object", ErrNoObject}, {"Invalid symmetric difference expression", ErrNoRange},
	{"bad revision", ErrNoName}, {"unknown revision", ErrNoName}, {"Not a valid", ErrNoName},
}

// unknownRevision turns git's complaint about a revision that is not there into
// errs.NotFound.
func unknownRevision(err error) error {
	if gitcmd.Exited(err, 128) {
		text := err.Error()
		for _, u := range unknownTexts {
			if strings.Contains(text, u.phrase) {
				return errs.Wrap(errs.NotFound, "revision not found", fmt.Errorf("%w: %w", u.err, err))
			}
		}
	}
	return err
}

// List calls each with the commits of the walk, in its order.
func List(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, each func(*gitalypb.GitCommit) error) error {
	_, err := Page(ctx, git, repo, w, "", 0, each)
	return err
}

// Page is List for what comes behind the commit after, up to a limit, and reports
// whether there is more. "" begins at the beginning, 0 is no limit. A commit that is
// not in the walk is errs.Invalid.
func Page(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, after string, limit int, each func(*gitalypb.GitCommit) error) (more bool, err error) {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return false, err
	}
	defer func() { _ = objects.Close() }()
	p := pager{after: after, limit: limit}
	err = IDs(ctx, git, repo, w, p.wrap(func(oid string) error {
		c, err := w.read(objects, oid)
		if err != nil {
			return err
		}
		return each(c)
	}))
	if err == nil && p.after != "" {
		return false, errPageToken()
	}
	return p.more, err
}

func errPageToken() error { return errs.New(errs.Invalid, "could not find page token") }

// pager cuts one page out of a listing of ids.
type pager struct {
	after string // "" once it has come
	limit int
	count int
	more  bool
}

func (p *pager) wrap(each func(oid string) error) func(oid string) error {
	return func(oid string) error {
		if p.after != "" {
			if oid == p.after {
				p.after = ""
			}
			return nil
		}
		if p.more = p.limit > 0 && p.count == p.limit; p.more {
			return gitcmd.ErrStop
		}
		p.count++
		return each(oid)
	}
}

// All calls each with every commit of the object store, reachable or not, in the
// order of their ids. Paging is that of Page.
func All(ctx context.Context, git Git, repo *gitcmd.Repo, after string, limit int, each func(*gitalypb.GitCommit) error) error {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	p := pager{after: after, limit: limit}
	visit := p.wrap(func(oid string) error {
		c, err := Read(objects, oid)
		if err != nil {
			return err
		}
		return each(c)
	})
	s := gitcmd.Spec{Name: "cat-file", Flags: []string{"--batch-check=%(objectname) %(objecttype)", "--batch-all-objects", "--buffer"}}
	err = git.Lines(ctx, repo, s, func(line []byte) error {
		if oid, isCommit := bytes.CutSuffix(line, []byte(" commit")); isCommit {
			return visit(string(oid))
		}
		return nil
	})
	if err == nil && p.after != "" {
		return errPageToken()
	}
	return err
}

// Read reads the commit that a revision stands for, through tags. What is not there
// or is no commit is errs.NotFound.
func Read(objects *object.Reader, revision string) (*gitalypb.GitCommit, error) {
	return Walk{}.read(objects, revision)
}

// read is Read with what the walk asks for.
func (w Walk) read(objects *object.Reader, revision string) (*gitalypb.GitCommit, error) {
	info, raw, err := objects.Contents(revision+"^{commit}", "commit")
	if err != nil {
		return nil, err
	}
	c, message, err := parse(info.OID, raw)
	if err == nil && w.Trailers {
		c.Trailers = Trailers(message)
	}
	return c, err
}

// Find is Read for a single question.
func Find(ctx context.Context, git Git, repo *gitcmd.Repo, revision string) (*gitalypb.GitCommit, error) {
	return find(ctx, git, repo, Walk{}, revision)
}

// FindWithTrailers is Find, and fills in the trailers of the message.
func FindWithTrailers(ctx context.Context, git Git, repo *gitcmd.Repo, revision string) (*gitalypb.GitCommit, error) {
	return find(ctx, git, repo, Walk{Trailers: true}, revision)
}

func find(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, revision string) (*gitalypb.GitCommit, error) {
	if err := ref.CheckRevision(revision); err != nil {
		return nil, err
	}
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	return w.read(objects, revision)
}

// TagIDs calls each with the ids of the tag objects that the revisions name, and those
// below them.
func TagIDs(ctx context.Context, git Git, repo *gitcmd.Repo, revisions []string, each func(oid string) error) error {
	w := Walk{Revisions: revisions, Flags: []string{
		"--no-walk", // no history: tags are not found on it
		"--objects", "--no-object-names", "--filter=object:type=tag", "--filter-provided-objects",
	}}
	return IDs(ctx, git, repo, w, each)
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

// CountDiverging counts the commits that only one of two revisions has. Together they
// are not more than limit, unless that is 0.
func CountDiverging(ctx context.Context, git Git, repo *gitcmd.Repo, left, right string, limit int) (onlyLeft, onlyRight int, err error) {
	for _, r := range []string{left, right} {
		if err := ref.CheckRevision(r); err != nil {
			return 0, 0, err
		}
	}
	w := Walk{Revisions: []string{left + "..." + right}}
	w.Limit(limit)
	s, err := w.spec("--count", "--left-right")
	if err != nil {
		return 0, 0, err
	}
	out, err := git.Output(ctx, repo, s, 100)
	if err != nil {
		return 0, 0, unknownRevision(err)
	}
	if _, err := fmt.Sscanf(string(out), "%d %d", &onlyLeft, &onlyRight); err != nil {
		return 0, 0, fmt.Errorf("read counts of git rev-list: %w", err)
	}
	return onlyLeft, onlyRight, nil
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
