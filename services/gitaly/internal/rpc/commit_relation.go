package rpc

import (
	"context"
	"math"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

// CommitIsAncestor says whether one commit is reachable from another. A commit that
// is not there is NotFound, so that a caller that guards against force pushes does
// not take it for a no.
func (s Commit) CommitIsAncestor(ctx context.Context, req *gitalypb.CommitIsAncestorRequest) (*gitalypb.CommitIsAncestorResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if news := s.Incoming.News(ctx, s.Git, &repo.Repo); news != nil && news.Reaches(req.GetAncestorId(), req.GetChildId()) {
		return &gitalypb.CommitIsAncestorResponse{Value: true}, nil
	}
	yes, err := commit.IsAncestor(ctx, s.Git, &repo.Repo, req.GetAncestorId(), req.GetChildId())
	if err != nil {
		return nil, err
	}
	return &gitalypb.CommitIsAncestorResponse{Value: yes}, nil
}

// CountCommits counts what is reachable from the revisions, or from everything.
func (s Commit) CountCommits(ctx context.Context, req *gitalypb.CountCommitsRequest) (*gitalypb.CountCommitsResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	w := commit.Walk{Revisions: texts(req.GetRevisions())}
	switch {
	case len(w.Revisions) > 0:
	case req.GetAll(): //nolint:staticcheck // deprecated in the protocol, and sent by its clients
		w.Revisions = []string{"--all"}
	case len(req.GetRevision()) > 0: //nolint:staticcheck // likewise
		w.Revisions = []string{string(req.GetRevision())} //nolint:staticcheck // likewise
	default:
		return nil, invalid("empty Revision and false All")
	}
	if len(req.GetPath()) > 0 {
		w.Paths = []string{string(req.GetPath())}
	}
	w.Limit(int(req.GetMaxCount()))
	w.If(req.GetFirstParent(), "--first-parent")
	w.Time("--since=", timeOf(req.GetAfter()))
	w.Time("--until=", timeOf(req.GetBefore()))
	n, err := commit.Count(ctx, s.Git, &repo.Repo, w)
	if err != nil {
		return nil, err
	}
	return &gitalypb.CountCommitsResponse{Count: int32(min(n, math.MaxInt32))}, nil //nolint:gosec // bounded
}

// CountDivergingCommits counts the commits that only one of two revisions has.
func (s Commit) CountDivergingCommits(ctx context.Context, req *gitalypb.CountDivergingCommitsRequest) (*gitalypb.CountDivergingCommitsResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if len(req.GetFrom()) == 0 || len(req.GetTo()) == 0 {
		return nil, invalid("from and to are both required")
	}
	left, right, err := commit.CountDiverging(ctx, s.Git, &repo.Repo, string(req.GetFrom()), string(req.GetTo()), int(req.GetMaxCount()))
	if err != nil {
		return nil, err
	}
	return &gitalypb.CountDivergingCommitsResponse{LeftCount: int32(min(left, math.MaxInt32)), RightCount: int32(min(right, math.MaxInt32))}, nil //nolint:gosec // bounded
}

// FindMergeBase returns a best common ancestor, or nothing.
func (s Repository) FindMergeBase(ctx context.Context, req *gitalypb.FindMergeBaseRequest) (*gitalypb.FindMergeBaseResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if len(req.GetRevisions()) < 2 {
		return nil, invalid("at least 2 revisions are required")
	}
	base, err := commit.MergeBase(ctx, s.Git, &repo.Repo, texts(req.GetRevisions()))
	if err != nil && errs.KindOf(err) != errs.NotFound { // an unknown revision has no ancestors
		return nil, err
	}
	return &gitalypb.FindMergeBaseResponse{Base: base}, nil
}
