package rpc

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// FindBranch returns a branch by its short or full name; no such branch is an empty
// answer.
func (s Ref) FindBranch(ctx context.Context, req *gitalypb.FindBranchRequest) (*gitalypb.FindBranchResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if len(req.GetName()) == 0 {
		return nil, invalid("Branch name cannot be empty")
	}
	full := fullName(ref.Branches, string(req.GetName()))
	if !ref.Valid(full) {
		return &gitalypb.FindBranchResponse{}, nil
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	b, err := branch(objects, strings.TrimPrefix(full, ref.Branches), full)
	if errs.KindOf(err) == errs.NotFound {
		return &gitalypb.FindBranchResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindBranchResponse{Branch: b}, nil
}
