package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
)

// RemoveRepository removes a repository; it is gone at once, also if deleting its
// files is interrupted.
func (s Repository) RemoveRepository(ctx context.Context, req *gitalypb.RemoveRepositoryRequest) (*gitalypb.RemoveRepositoryResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := storage.Remove(repo); err != nil {
		return nil, err
	}
	s.Git.ForgetRepo(repo.Dir)
	return &gitalypb.RemoveRepositoryResponse{}, nil
}
