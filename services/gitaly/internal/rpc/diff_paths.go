package rpc

import (
	"strings"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
)

// FindChangedPaths streams the paths that commits, or pairs of trees, changed.
func (s Diff) FindChangedPaths(req *gitalypb.FindChangedPathsRequest, stream gitalypb.DiffService_FindChangedPathsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	list, err := comparisons(req)
	if err != nil {
		return err
	}
	o := diff.PathOptions{
		AllParents: req.GetMergeCommitDiffMode() == gitalypb.FindChangedPathsRequest_MERGE_COMMIT_DIFF_MODE_ALL_PARENTS,
		Renames:    req.GetFindRenames(),
	}
	for _, f := range req.GetDiffFilters() {
		letter, ok := filterLetters[f]
		if !ok {
			return invalid("invalid diff filter")
		}
		if !strings.Contains(o.Statuses, letter) {
			o.Statuses += letter
		}
	}
	out := chunks[*gitalypb.ChangedPaths]{send: func(p []*gitalypb.ChangedPaths) error {
		return stream.Send(&gitalypb.FindChangedPathsResponse{Paths: p})
	}}
	return out.end(diff.Paths(ctx, s.Git, &repo.Repo, list, o, func(c diff.Change) error { return out.add(changedPath(c)) }))
}

// comparisons reads both forms of requests.
func comparisons(req *gitalypb.FindChangedPathsRequest) ([]diff.Comparison, error) {
	var list []diff.Comparison
	older := req.GetCommits() //nolint:staticcheck // deprecated, and still sent by older clients
	if len(older) > 0 && len(req.GetRequests()) > 0 {
		return nil, invalid("cannot specify both commits and requests")
	}
	for _, c := range older {
		list = append(list, diff.Comparison{Commit: c})
	}
	for _, r := range req.GetRequests() {
		switch {
		case r.GetTreeRequest() != nil:
			t := r.GetTreeRequest()
			if t.GetLeftTreeRevision() == "" && t.GetRightTreeRevision() == "" {
				return nil, invalid("resolving left tree: revision cannot be empty")
			}
			list = append(list, diff.Comparison{LeftTree: t.GetLeftTreeRevision(), RightTree: t.GetRightTreeRevision()})
		case r.GetCommitRequest() != nil:
			c := r.GetCommitRequest()
			list = append(list, diff.Comparison{Commit: c.GetCommitRevision(), Parents: c.GetParentCommitRevisions()})
		default:
			return nil, invalid("request without a type")
		}
	}
	return list, nil
}

var filterLetters = map[gitalypb.FindChangedPathsRequest_DiffStatus]string{ //nolint:gochecknoglobals // a constant
	gitalypb.FindChangedPathsRequest_DIFF_STATUS_ADDED: "A", gitalypb.FindChangedPathsRequest_DIFF_STATUS_MODIFIED: "M",
	gitalypb.FindChangedPathsRequest_DIFF_STATUS_DELETED: "D", gitalypb.FindChangedPathsRequest_DIFF_STATUS_TYPE_CHANGE: "T",
	gitalypb.FindChangedPathsRequest_DIFF_STATUS_COPIED: "C", gitalypb.FindChangedPathsRequest_DIFF_STATUS_RENAMED: "R",
}

var pathStatuses = map[byte]gitalypb.ChangedPaths_Status{ //nolint:gochecknoglobals // a constant
	'A': gitalypb.ChangedPaths_ADDED, 'M': gitalypb.ChangedPaths_MODIFIED, 'D': gitalypb.ChangedPaths_DELETED,
	'T': gitalypb.ChangedPaths_TYPE_CHANGE, 'C': gitalypb.ChangedPaths_COPIED, 'R': gitalypb.ChangedPaths_RENAMED,
}

func changedPath(c diff.Change) *gitalypb.ChangedPaths {
	p := &gitalypb.ChangedPaths{
		Path: c.NewPath, Status: pathStatuses[c.Status], OldMode: c.OldMode, NewMode: c.NewMode,
		OldBlobId: c.OldID, NewBlobId: c.NewID, Score: int32(c.Score), CommitId: c.Commit,
	}
	if c.Status == 'R' || c.Status == 'C' {
		p.OldPath = c.OldPath
	}
	return p
}
