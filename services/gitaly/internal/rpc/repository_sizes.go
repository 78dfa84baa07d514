package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

// ObjectsSize adds up what the objects that revisions reach take on disk.
func (s Repository) ObjectsSize(stream gitalypb.RepositoryService_ObjectsSizeServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.repository(stream.Context(), first.GetRepository())
	if err != nil {
		return err
	}
	in, err := revisions(first.GetRevisions(), func() (*gitalypb.Repository, [][]byte, error) {
		req, err := stream.Recv()
		return req.GetRepository(), req.GetRevisions(), err
	})
	if err != nil {
		return err
	}
	size, err := commit.DiskUsage(stream.Context(), s.Git, &repo.Repo, in)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.ObjectsSizeResponse{Size: size})
}

// GetObjectDirectorySize measures the object directory in KiB.
func (s Repository) GetObjectDirectorySize(ctx context.Context, req *gitalypb.GetObjectDirectorySizeRequest) (*gitalypb.GetObjectDirectorySizeResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	size, err := repo.ObjectsSize(ctx)
	if err != nil {
		return nil, err
	}
	return &gitalypb.GetObjectDirectorySizeResponse{Size: size / 1024}, nil
}
