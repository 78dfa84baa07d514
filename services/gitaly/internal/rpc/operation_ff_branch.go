package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// UserFFBranch moves a branch forward to a descendant of its tip.
func (s Operation) UserFFBranch(ctx context.Context, req *gitalypb.UserFFBranchRequest) (*gitalypb.UserFFBranchResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.GetBranch()) == 0:
		return nil, invalid("empty branch name")
	case req.GetUser() == nil:
		return nil, invalid("empty user")
	case req.GetCommitId() == "":
		return nil, invalid("empty commit id")
	case !ref.ValidOID(req.GetCommitId()):
		return nil, invalid("cannot parse commit ID: invalid object ID")
	}
	full, err := shortBranch(req.GetBranch())
	if err != nil {
		return nil, err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	change := ref.Change{Name: full, New: req.GetCommitId()}
	change.Old, err = tip(w, full, req.GetExpectedOldOid())
	if errs.KindOf(err) == errs.NotFound {
		return nil, invalid(errs.Message(err))
	}
	if err != nil {
		return nil, err
	}
	if yes, err := w.Contains(ctx, change.New, change.Old); err != nil {
		return nil, err
	} else if !yes {
		return nil, errs.New(errs.FailedPrecondition, "not fast forward")
	}
	if err := ffRefused(w.Move(ctx, change), change); err != nil {
		return nil, err
	}
	return &gitalypb.UserFFBranchResponse{BranchUpdate: updated(change.New)}, nil
}

func ffRefused(err error, c ref.Change) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, r.Error(), &gitalypb.UserFFBranchError{
			Error: &gitalypb.UserFFBranchError_CustomHook{CustomHook: customHook(r)},
		})
	case refused: // there is no detail for the internal API's no
		return errs.New(errs.Denied, r.Error())
	case errs.KindOf(err) == errs.Conflict:
		return detailed(codes.FailedPrecondition, changedText(c.Name), &gitalypb.UserFFBranchError{
			Error: &gitalypb.UserFFBranchError_ReferenceUpdate{ReferenceUpdate: referenceUpdate(c)},
		})
	}
	return err
}
