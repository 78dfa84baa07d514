package rpc

import (
	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
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
	if len(req.GetExcludePatterns()) > 0 {
		return errs.New(errs.Unimplemented, "exclude_patterns is not supported")
	}
	q := ref.Query{Patterns: []string{ref.Branches}, Sort: "refname"}
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
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.Branch]{send: func(b []*gitalypb.Branch) error {
		return stream.Send(&gitalypb.FindLocalBranchesResponse{LocalBranches: b})
	}}
	err = ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		b, err := branch(objects, r.Name, r.OID)
		if err != nil {
			return err
		}
		return out.add(b)
	})
	if err != nil {
		return err
	}
	return out.flush()
}
