package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
)

// Conflict says that two sides do not fit together.
type Conflict struct {
	Commit string // in a rebase, which one did not fit
	Tree   string // the merge with its conflict markers
	Stages []Stage
}

// Stage is one version of a file in conflict: 1 is the common ancestor's, 2 and 3 are
// those of the two sides. Without versions, only the path is known.
type Stage struct {
	Number int
	object.Entry
}

// Error has GitLab's words.
func (c *Conflict) Error() string {
	if c.Commit != "" {
		return fmt.Sprintf("rebase: commit %q: there are conflicting files", c.Commit)
	}
	return "merge: there are conflicting files"
}

// Files lists the paths in conflict.
func (c *Conflict) Files() [][]byte {
	var files [][]byte
	for _, s := range c.Stages {
		if n := len(files); n == 0 || string(files[n-1]) != s.Path {
			files = append(files, []byte(s.Path))
		}
	}
	return files
}

// maxConflicts bounds what git may say about conflicts, in bytes.
const maxConflicts = 4 << 20

// MergeTrees merges two commits and returns the tree. Sides that do not fit are a
// *Conflict.
func (w *Work) MergeTrees(ctx context.Context, ours, theirs string) (string, error) {
	return w.mergeTree(ctx, w.view(), ours, theirs)
}

func (w *Work) mergeTree(ctx context.Context, repo *gitcmd.Repo, ours, theirs string) (string, error) {
	out, err := w.s.o.Git.Output(ctx, repo, gitcmd.Spec{
		Name:  "merge-tree",
		Flags: []string{"--write-tree", "-z", "--no-messages", "--allow-unrelated-histories"},
		Args:  []string{ours, theirs},
	}, maxConflicts)
	if errors.Is(err, gitcmd.ErrTooLong) {
		return "", errs.Wrap(errs.FailedPrecondition, "merge: there are too many conflicting files", err)
	}
	if err != nil && !gitcmd.Exited(err, 1) {
		return "", err
	}
	tree, list, found := strings.Cut(string(out), "\x00")
	if !found {
		return "", fmt.Errorf("read answer of merge-tree %q: %w", out, err)
	}
	if err == nil {
		return tree, nil
	}
	c := &Conflict{Tree: tree}
	for line := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		if line == "" { // a conflict between directories alone
			continue
		}
		stage, err := parseStage(line)
		if err != nil {
			return "", err
		}
		c.Stages = append(c.Stages, stage)
	}
	return tree, c
}

// parseStage reads "<mode> <oid> <stage> TAB <path>".
func parseStage(line string) (Stage, error) {
	head, path, found := strings.Cut(line, "\t")
	fields := strings.Fields(head)
	if !found || len(fields) != 3 {
		return Stage{}, fmt.Errorf("read answer of merge-tree %q", line)
	}
	mode, err := strconv.ParseInt(fields[0], 8, 32)
	number, err2 := strconv.Atoi(fields[2])
	if err = errors.Join(err, err2); err != nil {
		return Stage{}, fmt.Errorf("read answer of merge-tree %q: %w", line, err)
	}
	return Stage{Number: number, Entry: object.Entry{Mode: int32(mode), OID: fields[1], Path: path}}, nil
}

// Merge makes the merge of two commits; a squash has the first one alone as parent.
func (w *Work) Merge(ctx context.Context, c Commit, ours, theirs string, squash bool) (string, error) {
	tree, err := w.MergeTrees(ctx, ours, theirs)
	if err != nil {
		return "", err
	}
	if squash {
		return w.Write(ctx, c, tree, ours)
	}
	return w.Write(ctx, c, tree, ours, theirs)
}

// Pick applies the change that a commit makes to its first parent onto another
// commit, and returns the tree.
func (w *Work) Pick(ctx context.Context, onto, picked commit.Raw) (string, error) {
	before, err := w.before(picked)
	if err != nil {
		return "", err
	}
	return w.threeWay(ctx, before, onto.Tree, picked.Tree)
}

// Unpick takes the change of a commit back.
func (w *Work) Unpick(ctx context.Context, onto, picked commit.Raw) (string, error) {
	before, err := w.before(picked)
	if err != nil {
		return "", err
	}
	return w.threeWay(ctx, picked.Tree, onto.Tree, before)
}

// before returns the tree that a commit changed.
func (w *Work) before(c commit.Raw) (string, error) {
	if len(c.Parents) == 0 {
		return object.EmptyTree(c.Tree), nil
	}
	parent, err := w.Raw(c.Parents[0])
	return parent.Tree, err
}

// threeWay merges two trees that have come from a third one. merge-tree finds the base
// of a merge by itself, and takes another one only in newer versions of git: so the
// trees become three commits, the base the parent of the others, that are not kept.
func (w *Work) threeWay(ctx context.Context, base, ours, theirs string) (string, error) {
	if err := w.openScratch(ctx); err != nil {
		return "", err
	}
	root, err := w.stray(base, "base")
	if err != nil {
		return "", err
	}
	left, err := w.stray(ours, "ours", root)
	if err != nil {
		return "", err
	}
	right, err := w.stray(theirs, "theirs", root) // never the same commit as the other side
	if err != nil {
		return "", err
	}
	both := *w.view()
	both.Alternates = append(slices.Clone(both.Alternates), w.scratchDir())
	return w.mergeTree(ctx, &both, left, right)
}

func (w *Work) openScratch(ctx context.Context) (err error) {
	if w.scratch != nil {
		return nil
	}
	if err := os.Mkdir(w.scratchDir(), 0o700); err != nil {
		return fmt.Errorf("open scratch directory: %w", err)
	}
	aside := *w.view()
	aside.ObjectDir, aside.Alternates = w.scratchDir(), append(slices.Clone(aside.Alternates), aside.ObjectDir)
	w.scratch, err = object.NewWriter(ctx, w.s.o.Git, &aside, "commit", w.scratchDir(), gitcmd.Config{Key: "core.fsync", Value: "none"})
	return err
}

// stray writes a commit to the scratch directory.
func (w *Work) stray(tree, side string, parents ...string) (string, error) {
	const nobody = "gitaly <gitaly@localhost> 0 +0000"
	raw := commit.Raw{Tree: tree, Parents: parents, Author: nobody, Committer: nobody, Message: []byte(side)}
	return w.scratch.Write(bytes.NewReader(raw.Bytes()))
}
