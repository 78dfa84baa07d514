package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
)

// UserRevert takes the change of a commit back, by a commit on a branch. Of a merge
// it takes back what came with it into the first parent.
func (s Operation) UserRevert(ctx context.Context, req *gitalypb.UserRevertRequest) (*gitalypb.UserRevertResponse, error) {
	p, done, err := s.beginPick(ctx, req, "revert commit lookup")
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.revert(ctx, p, req); err != nil {
		return nil, err
	}
	if yes, err := p.diverged(ctx); err != nil {
		return nil, err
	} else if yes {
		return nil, detailed(codes.FailedPrecondition, "revert: branch diverged", &gitalypb.UserRevertError{
			Error: &gitalypb.UserRevertError_NotAncestor{NotAncestor: &gitalypb.NotAncestorError{
				ParentRevision: []byte(p.change.Old), ChildRevision: []byte(p.change.New),
			}},
		})
	}
	if !req.GetDryRun() {
		err = revertRefused(p.work.Move(ctx, p.change), p.change.Name)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.UserRevertResponse{BranchUpdate: p.update()}, nil
}

// revert makes the new commit; in a dry run it is the one that is there.
func (s Operation) revert(ctx context.Context, p *picking, req *gitalypb.UserRevertRequest) error {
	by, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return err
	}
	tree, err := p.work.Unpick(ctx, p.onto, p.picked)
	if c, ok := asConflict(err); ok {
		return detailed(codes.FailedPrecondition, "revert: there are conflicting files", &gitalypb.UserRevertError{
			Error: &gitalypb.UserRevertError_MergeConflict{MergeConflict: mergeConflict(c)},
		})
	}
	if err != nil {
		return err
	}
	if tree == p.onto.Tree {
		return detailed(codes.FailedPrecondition, "revert: could not apply because the result was empty", &gitalypb.UserRevertError{
			Error: &gitalypb.UserRevertError_ChangesAlreadyApplied{ChangesAlreadyApplied: &gitalypb.ChangesAlreadyAppliedError{}},
		})
	}
	if req.GetDryRun() {
		p.change.New = p.start
		return nil
	}
	p.change.New, err = p.work.Write(ctx, operation.Commit{Author: by, Committer: by, Message: req.GetMessage()}, tree, p.start)
	return err
}

func revertRefused(err error, full string) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, "revert: custom hook error", &gitalypb.UserRevertError{
			Error: &gitalypb.UserRevertError_CustomHook{CustomHook: customHook(r)},
		})
	case refused: // there is no detail for the internal API's no
		return errs.New(errs.Denied, r.Error())
	}
	return changed(err, full)
}
