package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// RefExists says whether a reference is there, by its full name.
func (s Ref) RefExists(ctx context.Context, req *gitalypb.RefExistsRequest) (*gitalypb.RefExistsResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	exists, err := ref.Exists(ctx, s.Git, &repo.Repo, string(req.GetRef()))
	if err != nil {
		return nil, err
	}
	return &gitalypb.RefExistsResponse{Value: exists}, nil
}
