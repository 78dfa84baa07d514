package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
)

// RepositorySize returns the disk space of a repository in KiB.
func (s Repository) RepositorySize(ctx context.Context, req *gitalypb.RepositorySizeRequest) (*gitalypb.RepositorySizeResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	size, err := repo.Size(ctx)
	if err != nil {
		return nil, err
	}
	return &gitalypb.RepositorySizeResponse{Size: size / 1024}, nil
}

// ObjectFormat returns the hash function of a repository.
func (s Repository) ObjectFormat(ctx context.Context, req *gitalypb.ObjectFormatRequest) (*gitalypb.ObjectFormatResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	format, err := repo.ObjectFormat()
	if err != nil {
		return nil, err
	}
	if format == "sha256" {
		return &gitalypb.ObjectFormatResponse{Format: gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256}, nil
	}
	return &gitalypb.ObjectFormatResponse{Format: gitalypb.ObjectFormat_OBJECT_FORMAT_SHA1}, nil
}
