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
	c, err := commit.Find(ctx, s.Git, &repo.Repo, string(req.GetRevision()))
	if errs.KindOf(err) == errs.NotFound {
		return &gitalypb.FindCommitResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if req.GetTrailers() {
		c.Trailers = commit.Trailers(c.Body)
	}
	return &gitalypb.FindCommitResponse{Commit: c}, nil
}
