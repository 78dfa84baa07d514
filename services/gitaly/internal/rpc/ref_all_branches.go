package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// FindAllBranches streams the branches, ours and those fetched from remotes, with
// their commits. With merged_only they are those that the default branch contains.
func (s Ref) FindAllBranches(req *gitalypb.FindAllBranchesRequest, stream gitalypb.RefService_FindAllBranchesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	q := ref.Query{Patterns: []string{ref.Branches, ref.Remotes}}
	if req.GetMergedOnly() {
		if len(req.GetMergedBranches()) > 0 {
			q.Patterns = texts(req.GetMergedBranches())
		}
		if q.Merged, err = ref.Default(ctx, s.Git, &repo.Repo); err != nil || q.Merged == "" {
			return err
		}
	}
	out := chunks[*gitalypb.FindAllBranchesResponse_Branch]{send: func(b []*gitalypb.FindAllBranchesResponse_Branch) error {
		return stream.Send(&gitalypb.FindAllBranchesResponse{Branches: b})
	}}
	err = s.branches(ctx, repo, q, func(b *gitalypb.Branch) error {
		return out.add(&gitalypb.FindAllBranchesResponse_Branch{Name: b.GetName(), Target: b.GetTargetCommit()})
	})
	return out.end(err)
}

// FindAllRemoteBranches streams the branches that were fetched from one remote.
func (s Ref) FindAllRemoteBranches(req *gitalypb.FindAllRemoteBranchesRequest, stream gitalypb.RefService_FindAllRemoteBranchesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if req.GetRemoteName() == "" {
		return invalid("empty RemoteName")
	}
	remote := ref.Remotes + req.GetRemoteName()
	if !ref.Valid(remote) {
		return invalid("invalid RemoteName")
	}
	out := chunks[*gitalypb.Branch]{send: func(b []*gitalypb.Branch) error {
		return stream.Send(&gitalypb.FindAllRemoteBranchesResponse{Branches: b})
	}}
	return out.end(s.branches(ctx, repo, ref.Query{Patterns: []string{remote + "/"}}, out.add))
}

// branches reads the references of a query with their commits. One that leads to none
// is left out: nothing keeps those of remotes from it.
func (s Ref) branches(ctx context.Context, repo *storage.Repo, q ref.Query, each func(*gitalypb.Branch) error) error {
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	return ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		b, err := branch(objects, r.Name, r.OID)
		if errs.KindOf(err) == errs.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		return each(b)
	})
}
