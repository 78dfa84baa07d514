package rpc

import (
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// FindLocalBranches streams the branches with their commits, by full name. A page
// token is the name of the last branch of the page before.
func (s Ref) FindLocalBranches(req *gitalypb.FindLocalBranchesRequest, stream gitalypb.RefService_FindLocalBranchesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if emptyPage(req.GetPaginationParams()) {
		return nil
	}
	q := ref.Query{Patterns: []string{ref.Branches}, Exclude: texts(req.GetExcludePatterns()), Sort: "refname"}
	switch req.GetSortBy() {
	case gitalypb.FindLocalBranchesRequest_UPDATED_ASC:
		q.Sort = "committerdate"
	case gitalypb.FindLocalBranchesRequest_UPDATED_DESC:
		q.Sort, q.Descending = "committerdate", true
	}
	token, limit := page(req.GetPaginationParams())
	if q.Limit = limit; token != "" {
		q.After = fullName(ref.Branches, token)
	}
	out := chunks[*gitalypb.Branch]{send: func(b []*gitalypb.Branch) error {
		return stream.Send(&gitalypb.FindLocalBranchesResponse{LocalBranches: b})
	}}
	return out.end(s.branches(ctx, repo, q, out.add))
}
