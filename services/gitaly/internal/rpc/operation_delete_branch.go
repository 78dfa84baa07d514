package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserDeleteBranch removes a branch, if expected_old_oid is set only when it points
// there.
func (s Operation) UserDeleteBranch(ctx context.Context, req *gitalypb.UserDeleteBranchRequest) (*gitalypb.UserDeleteBranchResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	full := ref.Branches + string(req.GetBranchName())
	switch {
	case len(req.GetBranchName()) == 0:
		return nil, invalid("bad request: empty branch name")
	case !ref.Valid(full):
		return nil, invalid("invalid branch name")
	case req.GetExpectedOldOid() != "" && !ref.ValidOID(req.GetExpectedOldOid()):
		return nil, invalid("invalid expected old object ID")
	}
	if err := checkUser(req.GetUser()); err != nil {
		return nil, err
	}
	old, err := s.refOID(ctx, &repo.Repo, full)
	if err != nil {
		return nil, err
	}
	if old == "" {
		return nil, errs.Newf(errs.FailedPrecondition, "branch not found: %q", req.GetBranchName())
	}
	change := ref.Change{Name: full, New: ref.ZeroOID(old), Old: old}
	if expected := req.GetExpectedOldOid(); expected != "" && expected != old {
		return nil, deleteConflict(change)
	}
	err = s.Operations.Move(ctx, operation.Push{Request: requestBy(ctx, req.GetRepository(), repo, req.GetUser()), Change: change})
	if r, ok := asRefused(err); ok {
		return nil, deleteRefused(r, req.GetUser(), change)
	}
	if errs.KindOf(err) == errs.Conflict {
		return nil, deleteConflict(change)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.UserDeleteBranchResponse{}, nil
}

func deleteConflict(c ref.Change) error {
	return detailed(codes.FailedPrecondition, "reference update failed: "+changedText(c.Name), &gitalypb.UserDeleteBranchError{
		Error: &gitalypb.UserDeleteBranchError_ReferenceUpdate{ReferenceUpdate: referenceUpdate(c)},
	})
}

func deleteRefused(r *operation.Refused, user *gitalypb.User, c ref.Change) error {
	if r.Custom {
		return detailed(codes.PermissionDenied, "deletion denied by custom hooks: "+r.Error(), &gitalypb.UserDeleteBranchError{
			Error: &gitalypb.UserDeleteBranchError_CustomHook{CustomHook: customHook(r)},
		})
	}
	return detailed(codes.PermissionDenied, "deletion denied by access checks: "+r.Error(), &gitalypb.UserDeleteBranchError{
		Error: &gitalypb.UserDeleteBranchError_AccessCheck{AccessCheck: accessCheck(r, user, c)},
	})
}
