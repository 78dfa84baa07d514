package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

// FindCommit returns the commit of a revision; none is an empty answer.
func (s Commit) FindCommit(ctx context.Context, req *gitalypb.FindCommitRequest) (*gitalypb.FindCommitResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	find := commit.Find
	if req.GetTrailers() {
		find = commit.FindWithTrailers
	}
	c, err := find(ctx, s.Git, &repo.Repo, string(req.GetRevision()))
	if errs.KindOf(err) == errs.NotFound {
		return &gitalypb.FindCommitResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindCommitResponse{Commit: c}, nil
}
