package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserCreateBranch makes a branch at a revision.
func (s Operation) UserCreateBranch(ctx context.Context, req *gitalypb.UserCreateBranchRequest) (*gitalypb.UserCreateBranchResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if len(req.GetBranchName()) == 0 {
		return nil, invalid("empty branch name")
	}
	full, err := shortBranch(req.GetBranchName())
	if err != nil {
		return nil, err
	}
	if err := checkUser(req.GetUser()); err != nil {
		return nil, err
	}
	if len(req.GetStartPoint()) == 0 {
		return nil, invalid("empty start point")
	}
	start, err := s.refHash(ctx, &repo.Repo, string(req.GetStartPoint()))
	if err != nil {
		return nil, err
	}
	if start == nil {
		return nil, errs.Newf(errs.FailedPrecondition, "revspec '%s' not found", req.GetStartPoint())
	}
	if old, err := s.refOID(ctx, &repo.Repo, full); err != nil {
		return nil, err
	} else if old != "" {
		return nil, errs.New(errs.FailedPrecondition, changedText(full))
	}
	change := ref.Change{Name: full, New: start.GetId(), Old: ref.ZeroOID(start.GetId())}
	err = s.Operations.Move(ctx, operation.Push{Request: requestBy(ctx, req.GetRepository(), repo, req.GetUser()), Change: change})
	if r, ok := asRefused(err); ok {
		return nil, createRefused(r)
	}
	if err != nil {
		return nil, changed(err, full)
	}
	return &gitalypb.UserCreateBranchResponse{Branch: &gitalypb.Branch{Name: req.GetBranchName(), TargetCommit: start}}, nil
}

func createRefused(r *operation.Refused) error {
	if !r.Custom {
		return errs.New(errs.Denied, r.Error())
	}
	return detailed(codes.PermissionDenied, "creation denied by custom hooks", &gitalypb.UserCreateBranchError{
		Error: &gitalypb.UserCreateBranchError_CustomHook{CustomHook: customHook(r)},
	})
}
