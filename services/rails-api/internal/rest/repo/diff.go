package repo

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// Diff is a changed file with its patch, from the first hunk on.
type Diff struct {
	OldPath, NewPath    string
	OldMode, NewMode    int32 // 0 where there is no file
	Patch               []byte
	TooLarge, Collapsed bool // the patch is left out
	Binary              bool
}

// Limits of one comparison, those of the web pages of GitLab.
const (
	maxDiffFiles  = 1000
	maxDiffLines  = 50_000
	maxDiffBytes  = 5_120_000
	maxPatchBytes = 204_800
)

// Diffs returns the changed files between two trees, limit of them from offset on, and whether there are more. Beyond the
// limits above nothing is listed.
func (r *Repo) Diffs(ctx context.Context, left, right string, offset, limit int) (diffs []Diff, more bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := r.diffs.CommitDiff(ctx, &gitalypb.CommitDiffRequest{
		Repository: r.repository, LeftCommitId: left, RightCommitId: right,
		EnforceLimits: true, MaxFiles: maxDiffFiles, MaxLines: maxDiffLines, MaxBytes: maxDiffBytes, MaxPatchBytes: maxPatchBytes,
	})
	if err != nil {
		return nil, false, remote(err)
	}
	page := window[Diff]{offset: offset, limit: limit}
	var now *Diff
	err = receive(stream, func(m *gitalypb.CommitDiffResponse) {
		if m.GetOverflowMarker() {
			return
		}
		if now == nil {
			now = &Diff{
				OldPath: string(m.GetFromPath()), NewPath: string(m.GetToPath()), OldMode: m.GetOldMode(), NewMode: m.GetNewMode(),
				TooLarge: m.GetTooLarge(), Collapsed: m.GetCollapsed(), Binary: m.GetBinary(),
			}
		}
		now.Patch = append(now.Patch, m.GetRawPatchData()...)
		if m.GetEndOfPatch() {
			page.add(*now)
			now = nil
		}
	})
	return page.items, page.seen > offset+limit, err
}

// MergeBase returns the best common ancestor of two commits; histories that have none are errs.NotFound.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := r.whole.FindMergeBase(ctx, &gitalypb.FindMergeBaseRequest{Repository: r.repository, Revisions: [][]byte{[]byte(a), []byte(b)}})
	if err != nil {
		return "", remote(err)
	}
	if res.GetBase() == "" {
		return "", errs.New(errs.NotFound, "no merge base")
	}
	return res.GetBase(), nil
}

// The empty tree, by the length of ids.
const (
	emptyTree1   = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	emptyTree256 = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
)

// Before returns what a commit is compared with: its first parent, or nothing at all.
func Before(c *gitalypb.GitCommit) string {
	switch {
	case len(c.GetParentIds()) > 0:
		return c.GetParentIds()[0]
	case len(c.GetId()) == len(emptyTree256):
		return emptyTree256
	}
	return emptyTree1
}
