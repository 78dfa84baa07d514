package rpc

import (
	"context"
	"strings"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
)

// serversKey is the metadata that names the servers of other storages
// (wire/gitaly.md §3).
const serversKey = "gitaly-servers"

// source finds a second repository of a request, which may be on another server.
func (d *Deps) source(ctx context.Context, msg *gitalypb.Repository) (remote.Repository, error) {
	return d.Directory.Find(msg, incoming(ctx, serversKey))
}

// CreateFork makes a repository with the branches and tags of another, or with one
// branch of it.
func (s Repository) CreateFork(ctx context.Context, req *gitalypb.CreateForkRequest) (*gitalypb.CreateForkResponse, error) {
	if req.GetSourceRepository() == nil {
		return nil, invalid("empty SourceRepository")
	}
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	branch := string(req.GetRevision())
	if branch != "" && (!strings.HasPrefix(branch, ref.Branches) || !ref.Valid(branch)) {
		return nil, invalid("reference is not a branch")
	}
	source, err := s.source(ctx, req.GetSourceRepository())
	if err != nil {
		return nil, err
	}
	if err := s.Clones.From(ctx, repo, source, clone.Options{Branch: branch, Trusted: true}); err != nil {
		return nil, err
	}
	return &gitalypb.CreateForkResponse{}, nil
}
