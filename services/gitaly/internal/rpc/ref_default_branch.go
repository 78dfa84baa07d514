package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// FindDefaultBranchName returns the full name of the default branch. With head_only
// it is what HEAD says, whether or not it exists.
func (s Ref) FindDefaultBranchName(ctx context.Context, req *gitalypb.FindDefaultBranchNameRequest) (*gitalypb.FindDefaultBranchNameResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	find := ref.Default
	if req.GetHeadOnly() {
		find = ref.Head
	}
	name, err := find(ctx, s.Git, &repo.Repo)
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindDefaultBranchNameResponse{Name: []byte(name)}, nil
}
