// Package attribute reads gitattributes as a revision has them.
package attribute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	object.Git
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
}

// Info is one attribute of one path. Value is a word, "set" or "unset".
type Info struct{ Path, Name, Value string }

// name is how an attribute may be called (gitattributes).
var name = regexp.MustCompile(`^[A-Za-z0-9_.][-A-Za-z0-9_.]{0,254}$`)

// maxAnswers bounds paths times attributes.
const maxAnswers = 20_000

// Check calls each with the attributes of the paths, path by path; what is not
// specified is left out. git before 2.40 cannot be asked about a revision, so the
// .gitattributes on the way to the paths are put into an index of their own. A revision
// that is not there is errs.NotFound.
func Check(ctx context.Context, git Git, repo *storage.Repo, revision string, names, paths []string, each func(Info)) (err error) {
	clean, err := valid(revision, names, paths)
	if err != nil {
		return err
	}
	tmp, remove, err := repo.Storage.TempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(tmp, "index")}
	index, err := entries(ctx, git, &repo.Repo, revision, clean)
	if err != nil {
		return err
	}
	err = git.Run(ctx, &repo.Repo, gitcmd.Spec{
		Name: "update-index", Flags: []string{"-z", "--index-info"}, Env: env, Stdin: strings.NewReader(index),
	})
	if err != nil {
		return err
	}
	out := &answers{paths: paths, names: len(names), each: each}
	err = git.Run(ctx, &repo.Repo, gitcmd.Spec{
		Name: "check-attr", Flags: []string{"--cached", "--stdin", "-z"}, Args: names, Env: env,
		Stdin: strings.NewReader(strings.Join(clean, "\x00") + "\x00"), Stdout: out,
	})
	if err == nil && out.count != len(paths)*len(names)*3 {
		return fmt.Errorf("check-attr gave %d fields for %d paths", out.count, len(paths))
	}
	return err
}

func valid(revision string, names, paths []string) (clean []string, err error) {
	if err := ref.CheckRevision(revision); err != nil {
		return nil, err
	}
	if len(names)*len(paths) > maxAnswers {
		return nil, errs.New(errs.Invalid, "too many paths and attributes")
	}
	for _, n := range names {
		if !name.MatchString(n) {
			return nil, errs.Newf(errs.Invalid, "invalid attribute name %q", n)
		}
	}
	for _, p := range paths {
		c, err := object.CleanPath(p)
		if err != nil {
			return nil, err
		}
		if c == "" {
			return nil, errs.New(errs.Invalid, "empty path")
		}
		clean = append(clean, c)
	}
	return clean, nil
}

// entries lists the .gitattributes of all directories above the paths, as git
// update-index reads them.
func entries(ctx context.Context, git Git, repo *gitcmd.Repo, revision string, paths []string) (string, error) {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return "", err
	}
	defer func() { _ = objects.Close() }()
	root, err := objects.RootTree(revision)
	if err != nil {
		return "", err
	}
	var index strings.Builder
	seen := map[string]bool{}
	for _, p := range paths {
		for dir := path.Dir(p); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			e, err := objects.Find(root, path.Join(dir, ".gitattributes"))
			switch {
			case err == nil && e.Regular():
				fmt.Fprintf(&index, "%06o %s\t%s\x00", e.Mode, e.OID, e.Path)
			case err != nil && errs.KindOf(err) != errs.NotFound:
				return "", err
			}
		}
	}
	return index.String(), nil
}

// answers reads "<path> NUL <attribute> NUL <value> NUL", repeated in the order of the
// questions.
type answers struct {
	paths []string
	names int
	each  func(Info)
	rest  []byte
	attr  string
	count int // fields so far
}

func (a *answers) Write(p []byte) (int, error) {
	a.rest = append(a.rest, p...)
	for {
		field, rest, found := bytes.Cut(a.rest, []byte{0})
		if !found {
			return len(p), nil
		}
		a.field(string(field))
		a.rest = rest
	}
}

func (a *answers) field(text string) {
	switch at := a.count / 3 / a.names; {
	case at >= len(a.paths): // more than was asked for: Check sees it
	case a.count%3 == 1:
		a.attr = text
	case a.count%3 == 2 && text != "unspecified":
		a.each(Info{Path: a.paths[at], Name: a.attr, Value: text})
	}
	a.count++
}
