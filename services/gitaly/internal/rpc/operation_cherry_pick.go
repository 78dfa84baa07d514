package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

// UserCherryPick applies the change of a commit onto a branch. A dry run finds out
// whether it fits, and asks and moves nothing.
func (s Operation) UserCherryPick(ctx context.Context, req *gitalypb.UserCherryPickRequest) (*gitalypb.UserCherryPickResponse, error) {
	p, done, err := s.beginPick(ctx, req, "cherry-pick: commit lookup")
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.cherryPick(ctx, p, req); err != nil {
		return nil, err
	}
	if yes, err := p.diverged(ctx); err != nil {
		return nil, err
	} else if yes {
		return nil, detailed(codes.FailedPrecondition, "cherry-pick: branch diverged", &gitalypb.UserCherryPickError{
			Error: &gitalypb.UserCherryPickError_TargetBranchDiverged{TargetBranchDiverged: &gitalypb.NotAncestorError{
				ParentRevision: []byte(p.change.Old), ChildRevision: []byte(p.change.New),
			}},
		})
	}
	if !req.GetDryRun() {
		err = s.cherryPickRefused(p.work.Move(ctx, p.change), p, req)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.UserCherryPickResponse{BranchUpdate: p.update()}, nil
}

// cherryPick makes the new commit; in a dry run it is the one that is there.
func (s Operation) cherryPick(ctx context.Context, p *picking, req *gitalypb.UserCherryPickRequest) error {
	committer, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return err
	}
	tree, err := p.work.Pick(ctx, p.onto, p.picked)
	if c, ok := asConflict(err); ok {
		return detailed(codes.FailedPrecondition, "cherry pick: "+c.Error(), &gitalypb.UserCherryPickError{
			Error: &gitalypb.UserCherryPickError_CherryPickConflict{CherryPickConflict: mergeConflict(c)},
		})
	}
	if err != nil {
		return err
	}
	if tree == p.onto.Tree {
		return detailed(codes.FailedPrecondition, "cherry-pick: could not apply because the result was empty", &gitalypb.UserCherryPickError{
			Error: &gitalypb.UserCherryPickError_ChangesAlreadyApplied{ChangesAlreadyApplied: &gitalypb.ChangesAlreadyAppliedError{}},
		})
	}
	if req.GetDryRun() {
		p.change.New = p.start
		return nil
	}
	raw := commit.Raw{Tree: tree, Parents: []string{p.start}, Author: p.picked.Author, Message: req.GetMessage()}
	if len(req.GetCommitAuthorName()) > 0 && len(req.GetCommitAuthorEmail()) > 0 {
		if raw.Author, err = committer.By(req.GetCommitAuthorName(), req.GetCommitAuthorEmail()).Line(); err != nil {
			return err
		}
	}
	p.change.New, err = p.work.Rewrite(ctx, raw, committer)
	return err
}

// cherryPickRefused has the details for a branch that did not move; the words of a
// custom hook travel as those of the access check.
func (s Operation) cherryPickRefused(err error, p *picking, req *gitalypb.UserCherryPickRequest) error {
	r, refused := asRefused(err)
	if !refused {
		return changed(err, p.change.Name)
	}
	code, text, detail := codes.PermissionDenied, r.Error(), accessCheck(r, req.GetUser(), p.change)
	if r.Custom {
		code, text = codes.FailedPrecondition, "access check failed"
		detail = &gitalypb.AccessCheckError{ErrorMessage: strings.TrimSuffix(r.Error(), "\n")}
	}
	return detailed(code, text, &gitalypb.UserCherryPickError{Error: &gitalypb.UserCherryPickError_AccessCheck{AccessCheck: detail}})
}
