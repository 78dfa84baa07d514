package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
)

// RepositoryExists says whether a valid repository is at the place.
func (s Repository) RepositoryExists(ctx context.Context, req *gitalypb.RepositoryExistsRequest) (*gitalypb.RepositoryExistsResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	exists, err := repo.Exists()
	if err != nil {
		return nil, err
	}
	return &gitalypb.RepositoryExistsResponse{Exists: exists}, nil
}
