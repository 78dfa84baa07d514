package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// ListFiles streams the paths of all files of a revision, without submodules. One that
// is not there is an empty answer.
func (s Commit) ListFiles(req *gitalypb.ListFilesRequest, stream gitalypb.CommitService_ListFilesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	revision := string(req.GetRevision())
	if revision == "" {
		if revision, err = ref.Default(ctx, s.Git, &repo.Repo); err != nil {
			return err
		}
		if revision == "" {
			return errs.New(errs.FailedPrecondition, "repository does not have a default branch")
		}
	}
	if err := ref.CheckRevision(revision); err != nil {
		return err
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	root, err := findEntry(objects, revision, "")
	if errs.KindOf(err) == errs.NotFound {
		return stream.Send(&gitalypb.ListFilesResponse{})
	}
	if err != nil {
		return err
	}
	out := chunks[[]byte]{send: func(paths [][]byte) error { return stream.Send(&gitalypb.ListFilesResponse{Paths: paths}) }}
	err = objects.Walk(root, func(e object.Entry) error {
		if e.Type() != "blob" {
			return nil
		}
		return out.add([]byte(e.Path))
	})
	return out.end(err)
}

// CommitStats counts what a commit changed against its first parent.
func (s Commit) CommitStats(ctx context.Context, req *gitalypb.CommitStatsRequest) (*gitalypb.CommitStatsResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	oid, stats, err := commit.Stats(ctx, s.Git, &repo.Repo, string(req.GetRevision()))
	if err != nil {
		return nil, err
	}
	return &gitalypb.CommitStatsResponse{Oid: oid, Additions: stats.GetAdditions(), Deletions: stats.GetDeletions(), Files: stats.GetChangedFiles()}, nil
}
