package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/remote"
)

// CreateRepositoryFromURL makes a repository from one that answers at a URL.
func (s Repository) CreateRepositoryFromURL(ctx context.Context, req *gitalypb.CreateRepositoryFromURLRequest) (*gitalypb.CreateRepositoryFromURLResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if req.GetUrl() == "" {
		return nil, invalid("empty Url")
	}
	from, err := s.Outbound.Check(ctx, remote.Target{
		URL: req.GetUrl(), Authorization: req.GetHttpAuthorizationHeader(), Resolved: req.GetResolvedAddress(),
	})
	if err != nil {
		return nil, err
	}
	if err := s.Clones.From(ctx, repo, from, clone.Options{Everything: req.GetMirror()}); err != nil {
		return nil, err
	}
	return &gitalypb.CreateRepositoryFromURLResponse{}, nil
}

// CreateRepositoryFromSnapshot makes a repository from a tar of references and
// objects that is fetched over HTTP.
func (s Repository) CreateRepositoryFromSnapshot(ctx context.Context, req *gitalypb.CreateRepositoryFromSnapshotRequest) (*gitalypb.CreateRepositoryFromSnapshotResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	from, err := s.Outbound.Check(ctx, remote.Target{
		URL: req.GetHttpUrl(), Authorization: req.GetHttpAuth(), Resolved: req.GetResolvedAddress(), Query: true,
	})
	if err != nil {
		return nil, err
	}
	snapshot, err := from.Download(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = snapshot.Close() }()
	if err := s.Clones.FromSnapshot(ctx, repo, snapshot); err != nil {
		return nil, err
	}
	return &gitalypb.CreateRepositoryFromSnapshotResponse{}, nil
}
