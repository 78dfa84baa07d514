package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// ReplicateRepository makes a repository equal to one on another storage, whose
// server the call's metadata names if it is not this one.
func (s Repository) ReplicateRepository(ctx context.Context, req *gitalypb.ReplicateRepositoryRequest) (*gitalypb.ReplicateRepositoryResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	switch {
	case err != nil:
		return nil, err
	case req.GetSource() == nil:
		return nil, invalid("source repository cannot be empty")
	case req.GetSource().GetStorageName() == req.GetRepository().GetStorageName():
		return nil, invalid("repository and source have the same storage")
	}
	source, err := s.source(ctx, req.GetSource())
	if errs.KindOf(err) == errs.NotFound {
		return nil, errs.Wrap(errs.NotFound, "invalid source repository", err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.Copies.Replicate(ctx, repo, source); err != nil {
		return nil, err
	}
	return &gitalypb.ReplicateRepositoryResponse{}, nil
}
