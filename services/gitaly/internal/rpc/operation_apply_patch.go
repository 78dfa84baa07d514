package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// UserApplyPatch commits the patches of a mailbox to a branch; a new branch begins at
// the default branch.
func (s Operation) UserApplyPatch(stream gitalypb.OperationService_UserApplyPatchServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return invalid("empty UserApplyPatch_Header")
	}
	repo, err := s.standing(ctx, header.GetRepository())
	if err != nil {
		return err
	}
	switch {
	case header.GetUser() == nil:
		return invalid("missing User")
	case len(header.GetTargetBranch()) == 0:
		return invalid("missing Branch")
	}
	full, err := shortBranch(header.GetTargetBranch())
	if err != nil {
		return err
	}
	w, done, err := s.begin(ctx, header.GetRepository(), repo, header.GetUser())
	if err != nil {
		return err
	}
	defer done()
	parent, change, err := s.patchParent(ctx, repo, w, full, header.GetExpectedOldOid())
	if err != nil {
		return err
	}
	by, err := s.Operations.Sign(header.GetUser(), header.GetTimestamp())
	if err != nil {
		return err
	}
	change.New, err = w.ApplyPatches(ctx, parent, streamio.NewReader(func() ([]byte, error) {
		req, err := stream.Recv()
		return req.GetPatches(), err
	}), by)
	var failed *operation.PatchFailed
	if errors.As(err, &failed) {
		return errs.Wrap(errs.FailedPrecondition, failed.Error(), failed.Err)
	}
	if err == nil {
		err = patchRefused(w.Move(ctx, change), full)
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.UserApplyPatchResponse{BranchUpdate: &gitalypb.OperationBranchUpdate{
		CommitId: change.New, BranchCreated: change.Old == ref.ZeroOID(change.Old),
	}})
}

// patchParent finds where the patches go, and what the branch must be.
func (s Operation) patchParent(ctx context.Context, repo *storage.Repo, w *operation.Work, full, wanted string) (parent string, change ref.Change, err error) {
	change.Name = full
	parent, err = w.Resolve(full)
	if err == nil {
		change.Old = parent
	}
	if errs.KindOf(err) == errs.NotFound {
		var name string
		if name, err = ref.Default(ctx, s.Git, &repo.Repo); err == nil && name == "" {
			err = errs.New(errs.FailedPrecondition, "no default branch")
		}
		if err == nil {
			parent, err = w.Resolve(name)
			change.Old = ref.ZeroOID(parent)
		}
	}
	if err == nil && wanted != "" {
		change.Old, err = expected(w, wanted, true)
	}
	return parent, change, err
}

func patchRefused(err error, full string) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, "denied by custom hooks", &gitalypb.UserApplyPatchError{
			Error: &gitalypb.UserApplyPatchError_CustomHook{CustomHook: customHook(r)},
		})
	case refused: // there is no detail for the internal API's no
		return errs.New(errs.Denied, r.Error())
	}
	return changed(err, full)
}
