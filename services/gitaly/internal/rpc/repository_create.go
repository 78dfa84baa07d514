package rpc

import (
	"context"
	"strings"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// CreateRepository makes an empty repository, wholly or not at all. The default
// branch may be given short or full; none means main.
func (s Repository) CreateRepository(ctx context.Context, req *gitalypb.CreateRepositoryRequest) (*gitalypb.CreateRepositoryResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	branch := strings.TrimPrefix(string(req.GetDefaultBranch()), ref.Branches)
	if branch != "" && !ref.ValidShort(branch) {
		return nil, invalid("invalid default branch name")
	}
	var sha256 bool
	switch req.GetObjectFormat() {
	case gitalypb.ObjectFormat_OBJECT_FORMAT_UNSPECIFIED, gitalypb.ObjectFormat_OBJECT_FORMAT_SHA1:
	case gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256:
		sha256 = true
	default:
		return nil, invalid("unknown object format")
	}
	if err := storage.Create(ctx, s.Git, repo, storage.CreateOptions{Branch: branch, SHA256: sha256}); err != nil {
		return nil, err
	}
	return &gitalypb.CreateRepositoryResponse{}, nil
}
