package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserMergeBranch makes a merge, sends its id, and moves the branch when the caller
// says so.
func (s Operation) UserMergeBranch(stream gitalypb.OperationService_UserMergeBranchServer) error {
	ctx := stream.Context()
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	full, err := checkMergeBranch(req)
	if err != nil {
		return err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return err
	}
	defer done()
	change, err := s.mergeBranch(ctx, w, full, req)
	if err != nil {
		return err
	}
	if err := stream.Send(&gitalypb.UserMergeBranchResponse{CommitId: change.New}); err != nil {
		return err
	}
	second, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !second.GetApply() {
		return errs.New(errs.FailedPrecondition, "merge aborted by client")
	}
	if err := mergeRefused(w.Move(ctx, change), req.GetUser(), change); err != nil {
		return err
	}
	return stream.Send(&gitalypb.UserMergeBranchResponse{BranchUpdate: updated(change.New)})
}

func checkMergeBranch(req *gitalypb.UserMergeBranchRequest) (full string, err error) {
	switch {
	case req.GetUser() == nil:
		return "", invalid("empty user")
	case len(req.GetUser().GetEmail()) == 0:
		return "", invalid("empty user email")
	case len(req.GetUser().GetName()) == 0:
		return "", invalid("empty user name")
	case len(req.GetBranch()) == 0:
		return "", invalid("empty branch name")
	case req.GetCommitId() == "":
		return "", invalid("empty commit ID")
	case len(req.GetMessage()) == 0:
		return "", invalid("empty message")
	}
	return shortBranch(req.GetBranch())
}

// mergeBranch makes the merge and returns what shall move.
func (s Operation) mergeBranch(ctx context.Context, w *operation.Work, full string, req *gitalypb.UserMergeBranchRequest) (ref.Change, error) {
	change := ref.Change{Name: full}
	var err error
	if change.Old, err = tip(w, full, req.GetExpectedOldOid()); err != nil {
		return change, err
	}
	theirs, err := w.Resolve(req.GetCommitId())
	if errs.KindOf(err) == errs.NotFound {
		return change, errs.Newf(errs.NotFound, "commit not found: %q", req.GetCommitId())
	}
	if err != nil {
		return change, err
	}
	by, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return change, err
	}
	change.New, err = w.Merge(ctx, operation.Commit{Author: by, Committer: by, Message: req.GetMessage()}, change.Old, theirs, req.GetSquash())
	if c, ok := asConflict(err); ok {
		return change, detailed(codes.FailedPrecondition, "merging commits: "+c.Error(), &gitalypb.UserMergeBranchError{
			Error: &gitalypb.UserMergeBranchError_MergeConflict{MergeConflict: mergeConflict(c, change.Old, req.GetCommitId())},
		})
	}
	return change, err
}

// mergeRefused has the details for a branch that did not move.
func mergeRefused(err error, user *gitalypb.User, c ref.Change) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, r.Error(), &gitalypb.UserMergeBranchError{
			Error: &gitalypb.UserMergeBranchError_CustomHook{CustomHook: customHook(r)},
		})
	case refused:
		return detailed(codes.PermissionDenied, r.Error(), &gitalypb.UserMergeBranchError{
			Error: &gitalypb.UserMergeBranchError_AccessCheck{AccessCheck: accessCheck(r, user, c)},
		})
	case errs.KindOf(err) == errs.Conflict:
		return detailed(codes.FailedPrecondition, changedText(c.Name), &gitalypb.UserMergeBranchError{
			Error: &gitalypb.UserMergeBranchError_ReferenceUpdate{ReferenceUpdate: referenceUpdate(c)},
		})
	}
	return err
}
