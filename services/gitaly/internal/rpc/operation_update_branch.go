package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserUpdateBranch moves a branch from one commit to another. A no of the hooks is
// part of a good answer.
func (s Operation) UserUpdateBranch(ctx context.Context, req *gitalypb.UserUpdateBranchRequest) (*gitalypb.UserUpdateBranchResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	change := ref.Change{New: string(req.GetNewrev()), Old: string(req.GetOldrev())}
	switch {
	case req.GetUser() == nil:
		return nil, invalid("empty user")
	case len(req.GetBranchName()) == 0:
		return nil, invalid("empty branch name")
	case change.Old == "":
		return nil, invalid("empty oldrev")
	case change.New == "":
		return nil, invalid("empty newrev")
	case !ref.ValidOID(change.New) || change.New == ref.ZeroOID(change.New):
		return nil, invalid("could not parse newrev")
	case !ref.ValidOID(change.Old):
		return nil, invalid("could not parse oldrev")
	}
	if change.Name, err = shortBranch(req.GetBranchName()); err != nil {
		return nil, err
	}
	err = s.Operations.Move(ctx, operation.Push{Request: requestBy(ctx, req.GetRepository(), repo, req.GetUser()), Change: change})
	if r, ok := asRefused(err); ok {
		return &gitalypb.UserUpdateBranchResponse{PreReceiveError: r.Error()}, nil
	}
	if errs.KindOf(err) == errs.Conflict { // by its short name, for once
		return nil, errs.Wrap(errs.FailedPrecondition, changedText(string(req.GetBranchName())), err)
	}
	return &gitalypb.UserUpdateBranchResponse{}, err
}
