package ref

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Start(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Process, error)
	Lines(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, each func(line []byte) error) error
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
	Output(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, limit int) ([]byte, error)
}

// Ref is a reference and what it points at.
type Ref struct {
	Name   string // full
	OID    string
	Type   string // commit, tag, tree or blob
	Peeled string // what a tag points at; "" otherwise
}

// Query says which references to list, and how.
type Query struct {
	Patterns   []string // full names, or prefixes that end at a slash, or globs
	Exclude    []string // likewise; these are left out
	Sort       string   // a field of git for-each-ref: refname, committerdate, version:refname, …
	Descending bool
	IgnoreCase bool
	PointsAt   []string // object ids, or their beginnings
	Contains   string   // the id of a commit from which the references descend
	Merged     string   // the full name of a reference that descends from them
	After      string   // the full name of the last reference of the page before
	Limit      int      // 0 is no limit
}

// maxPatterns keeps the patterns, each of which may be as long as a name, within what
// the system passes to a program.
const maxPatterns = 1000

// sortKey keeps out what could hold a format, and so run for long.
var sortKey = regexp.MustCompile(`^[a-z]+(:[a-z]+)?$`)

var hexPrefix = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

func (q Query) spec() (gitcmd.Spec, error) {
	s := gitcmd.Spec{Name: "for-each-ref", Flags: []string{"--format=%(objectname) %(objecttype) %(*objectname) %(refname)"}, Args: q.Patterns}
	for _, p := range q.Patterns {
		if !validPattern(p) {
			return s, errs.New(errs.Invalid, "invalid reference pattern")
		}
	}
	if len(q.Patterns)+len(q.PointsAt)+len(q.Exclude) > maxPatterns {
		return s, errs.New(errs.Invalid, "too many reference patterns")
	}
	if q.Sort != "" {
		if !sortKey.MatchString(q.Sort) {
			return s, errs.Newf(errs.Invalid, "unknown sort key %q", q.Sort)
		}
		key := q.Sort
		if q.Descending {
			key = "-" + key
		}
		s.Flags = append(s.Flags, "--sort="+key)
	}
	if q.IgnoreCase {
		s.Flags = append(s.Flags, "--ignore-case")
	}
	for _, oid := range q.PointsAt {
		if !hexPrefix.MatchString(oid) {
			return s, errs.Newf(errs.Invalid, "invalid object id %q", oid)
		}
		s.Flags = append(s.Flags, "--points-at="+oid)
	}
	if q.Contains != "" {
		if !ValidOID(q.Contains) {
			return s, errs.Newf(errs.Invalid, "invalid object id %q", q.Contains)
		}
		s.Flags = append(s.Flags, "--contains="+q.Contains)
	}
	if q.Merged != "" {
		if !Valid(q.Merged) {
			return s, errs.New(errs.Invalid, "invalid refname")
		}
		s.Flags = append(s.Flags, "--merged="+q.Merged)
	}
	if q.Limit > 0 && q.After == "" && len(q.Exclude) == 0 {
		s.Flags = append(s.Flags, "--count="+strconv.Itoa(q.Limit+1)) // Page wants to know whether there is more
	}
	return s, nil
}

// List calls each with the references of the query. A page that begins after a
// reference which is not there is errs.Invalid, and so is an object id that git does
// not accept; a commit that is not there is errs.NotFound.
func List(ctx context.Context, git Git, repo *gitcmd.Repo, q Query, each func(Ref) error) error {
	_, err := Page(ctx, git, repo, q, each)
	return err
}

// Page is List, and reports whether there are more references behind the limit.
func Page(ctx context.Context, git Git, repo *gitcmd.Repo, q Query, each func(Ref) error) (more bool, err error) {
	s, err := q.spec()
	if err != nil {
		return false, err
	}
	excluded, err := q.excluded()
	if err != nil {
		return false, err
	}
	started, count := q.After == "", 0
	err = git.Lines(ctx, repo, s, func(line []byte) error {
		r, err := parseLine(line)
		if err != nil {
			return err
		}
		if !started {
			started = r.Name == q.After
			return nil
		}
		if excluded(r.Name) {
			return nil
		}
		if more = q.Limit > 0 && count == q.Limit; more {
			return gitcmd.ErrStop
		}
		count++
		return each(r)
	})
	if err == nil && !started {
		return false, errs.New(errs.Invalid, "could not find page token")
	}
	return more, refused(err)
}

// excluded compiles the patterns of what is left out.
func (q Query) excluded() (func(name string) bool, error) {
	patterns := make([]pattern, len(q.Exclude))
	for i, text := range q.Exclude {
		var err error
		if patterns[i], err = compile(text, q.IgnoreCase); err != nil {
			return nil, err
		}
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(p pattern) bool { return p.match(name) })
	}, nil
}

// refused tells the caller's mistakes from git's failures.
func refused(err error) error {
	if !gitcmd.Exited(err, 128, 129) {
		return err
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "unknown field name"):
		return errs.Wrap(errs.Invalid, "unknown sort key", err)
	case strings.Contains(text, "malformed object name"):
		return errs.Wrap(errs.Invalid, "invalid object id", err)
	case strings.Contains(text, "no such commit"), strings.Contains(text, "not a commit"):
		return errs.Wrap(errs.NotFound, "commit not found", err)
	}
	return err
}

var errLine = errors.New("for-each-ref answers out of form")

func parseLine(line []byte) (Ref, error) {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) != 4 {
		return Ref{}, errLine
	}
	return Ref{OID: string(fields[0]), Type: string(fields[1]), Peeled: string(fields[2]), Name: string(fields[3])}, nil
}

// Exists reports whether a reference is there, by its full name.
func Exists(ctx context.Context, git Git, repo *gitcmd.Repo, name string) (bool, error) {
	if !Valid(name) {
		return false, errs.New(errs.Invalid, "invalid refname")
	}
	err := git.Run(ctx, repo, gitcmd.Spec{Name: "show-ref", Flags: []string{"--verify", "--quiet"}, Args: []string{name}})
	if gitcmd.Exited(err, 1) {
		return false, nil
	}
	return err == nil, err
}

// Head returns the full name that HEAD points at, whether or not it exists; "" for
// a detached HEAD.
func Head(ctx context.Context, git Git, repo *gitcmd.Repo) (string, error) {
	if name := headFile(repo.Dir); name != "" {
		return name, nil
	}
	out, err := git.Output(ctx, repo, gitcmd.Spec{
		Name: "symbolic-ref", Flags: []string{"--quiet"}, Args: []string{"HEAD"}, NoHooks: true, // it only reads
	}, 2*maxName)
	if gitcmd.Exited(err, 1) {
		return "", nil
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// headFile reads what HEAD points at where the file says it: not for a detached HEAD,
// nor for references in other files than git's first ones. Then it is "", and git knows.
func headFile(dir string) string {
	f, err := os.OpenFile(filepath.Join(dir, "HEAD"), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // read only
	text := make([]byte, 2*maxName)
	n, _ := f.Read(text) // what is missing makes no name
	name, ok := strings.CutPrefix(string(text[:n]), "ref: ")
	name, whole := strings.CutSuffix(name, "\n")
	if !ok || !whole || !Valid(name) {
		return ""
	}
	return name
}

// Default returns the full name of the default branch: HEAD's if it exists, else
// main, else master, else the first branch, else "".
func Default(ctx context.Context, git Git, repo *gitcmd.Repo) (string, error) {
	head, err := Head(ctx, git, repo)
	if err != nil {
		return "", err
	}
	for _, name := range []string{head, Branches + "main", Branches + "master"} {
		if name == "" {
			continue
		}
		if ok, err := Exists(ctx, git, repo, name); err != nil || ok {
			return name, err
		}
	}
	var first string
	err = List(ctx, git, repo, Query{Patterns: []string{Branches}, Limit: 1}, func(r Ref) error {
		first = r.Name
		return nil
	})
	return first, err
}
