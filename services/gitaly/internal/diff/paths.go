package diff

import (
	"context"
	"errors"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Comparison is a commit against its parents, or against Parents if there are any; or,
// without a commit, one tree against another.
type Comparison struct {
	Commit, LeftTree, RightTree string
	Parents                     []string
}

// PathOptions says what is listed.
type PathOptions struct {
	AllParents bool   // of a merge only what differs from each parent
	Renames    bool   // a path that had another name is renamed, not deleted and added
	Statuses   string // letters of Change.Status; "" is all
}

func (o PathOptions) flags() []string {
	flags := append(safe(), "-r", "-z", "--stdin", "--raw", "--no-abbrev", "--root")
	statuses := o.Statuses
	if statuses == "" {
		statuses = "ACDMRT"
	}
	flags = append(flags, "--diff-filter="+statuses)
	if o.Renames {
		flags = append(flags, "--find-renames=30%")
	} else {
		flags = append(flags, "--no-renames")
	}
	switch {
	case o.AllParents && o.Renames:
		return append(flags, "-c", "--combined-all-paths")
	case o.AllParents:
		return append(flags, "-c")
	}
	return append(flags, "-m")
}

// Paths calls each for every path that the comparisons find changed, in their order. A
// revision that is not there is errs.NotFound.
func Paths(ctx context.Context, git PathGit, repo *gitcmd.Repo, list []Comparison, o PathOptions, each func(Change) error) error {
	input, err := questions(ctx, git, repo, list)
	if err != nil {
		return err
	}
	out, err := git.Reader(ctx, repo, gitcmd.Spec{Name: "diff-tree", Flags: o.flags(), Stdin: strings.NewReader(input)})
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	changes := newRawReader(out)
	changes.allPaths = o.AllParents && o.Renames
	for {
		c, err := changes.next()
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

// PathGit is Git that resolves revisions too.
type PathGit interface {
	Git
	object.Git
}

// questions writes the comparisons as git reads them: a line of ids for each. Nothing
// but ids, so that no revision means something else there.
func questions(ctx context.Context, git PathGit, repo *gitcmd.Repo, list []Comparison) (string, error) {
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return "", err
	}
	defer func() { _ = objects.Close() }()
	var out strings.Builder
	for _, c := range list {
		line, err := c.ids(objects)
		if err != nil {
			return "", err
		}
		out.WriteString(strings.Join(line, " ") + "\n")
	}
	return out.String(), nil
}

func (c Comparison) ids(objects *object.Reader) ([]string, error) {
	if c.Commit == "" && (c.LeftTree != "" || c.RightTree != "") {
		left, err := resolve(objects, "left tree", c.LeftTree, "tree")
		if err != nil {
			return nil, err
		}
		right, err := resolve(objects, "right tree", c.RightTree, "tree")
		return []string{left, right}, err
	}
	first, err := resolve(objects, "commit", c.Commit, "commit")
	if err != nil {
		return nil, err
	}
	line := []string{first}
	for _, p := range c.Parents {
		id, err := resolve(objects, "commit parent", p, "commit")
		if err != nil {
			return nil, err
		}
		line = append(line, id)
	}
	return line, nil
}

// resolve returns the id of the object of that type that a revision stands for.
func resolve(objects *object.Reader, what, revision, typ string) (string, error) {
	if revision == "" {
		return "", errs.Newf(errs.Invalid, "resolving %s: revision cannot be empty", what)
	}
	if err := ref.CheckRevision(revision); err != nil {
		return "", errs.Newf(errs.Invalid, "resolving %s: %s", what, errs.Message(err))
	}
	info, err := objects.Info(revision + "^{" + typ + "}")
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.Newf(errs.NotFound, "resolving %s: revision can not be found: %q", what, revision)
	}
	return info.OID, err
}
