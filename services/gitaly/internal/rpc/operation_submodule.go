package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserUpdateSubmodule commits another commit of a submodule.
func (s Operation) UserUpdateSubmodule(ctx context.Context, req *gitalypb.UserUpdateSubmoduleRequest) (*gitalypb.UserUpdateSubmoduleResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	full, err := checkSubmodule(req)
	if err != nil {
		return nil, err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	if had, err := w.HasBranches(ctx); err != nil {
		return nil, err
	} else if !had {
		return nil, errs.New(errs.FailedPrecondition, "Repository is empty")
	}
	change := ref.Change{Name: full}
	change.Old, err = tip(w, full, req.GetExpectedOldOid())
	if errs.KindOf(err) == errs.NotFound {
		return nil, invalid("Cannot find branch")
	}
	if err != nil {
		return nil, err
	}
	if len(req.GetCommitSha()) != len(change.Old) {
		return nil, invalid("invalid CommitSha")
	}
	if change.New, err = s.updateSubmodule(ctx, w, change.Old, req); err != nil {
		return nil, err
	}
	if err := submoduleRefused(w.Move(ctx, change), change); err != nil {
		return nil, err
	}
	return &gitalypb.UserUpdateSubmoduleResponse{BranchUpdate: updated(change.New)}, nil
}

func checkSubmodule(req *gitalypb.UserUpdateSubmoduleRequest) (full string, err error) {
	switch {
	case req.GetUser() == nil:
		return "", invalid("empty User")
	case req.GetCommitSha() == "":
		return "", invalid("empty CommitSha")
	case !ref.ValidOID(req.GetCommitSha()):
		return "", invalid("invalid CommitSha")
	case len(req.GetBranch()) == 0:
		return "", invalid("empty Branch")
	case len(req.GetSubmodule()) == 0:
		return "", invalid("empty Submodule")
	case len(req.GetCommitMessage()) == 0:
		return "", invalid("empty CommitMessage")
	}
	return shortBranch(req.GetBranch())
}

// updateSubmodule makes the commit.
func (s Operation) updateSubmodule(ctx context.Context, w *operation.Work, parent string, req *gitalypb.UserUpdateSubmoduleRequest) (_ string, err error) {
	by, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return "", err
	}
	raw, err := w.Raw(parent)
	if err != nil {
		return "", err
	}
	files := w.Files(raw.Tree)
	defer func() { err = errors.Join(err, files.Close()) }()
	fault := &gitalypb.PathError{Path: req.GetSubmodule()}
	text := ""
	switch err := files.SetSubmodule(string(req.GetSubmodule()), req.GetCommitSha()); {
	case errors.Is(err, operation.ErrNoSubmodule):
		fault.ErrorType, text = gitalypb.PathError_ERROR_TYPE_INVALID_PATH, "Invalid submodule path"
	case errors.Is(err, operation.ErrSameCommit):
		fault.ErrorType = gitalypb.PathError_ERROR_TYPE_PATH_EXISTS
		text = fmt.Sprintf("The submodule %s is already at %s", req.GetSubmodule(), req.GetCommitSha())
	case err != nil:
		return "", err
	}
	if text != "" {
		return "", detailed(codes.InvalidArgument, text, &gitalypb.UserUpdateSubmoduleError{
			Error: &gitalypb.UserUpdateSubmoduleError_PathError{PathError: fault},
		})
	}
	tree, err := files.Tree(ctx)
	if err != nil {
		return "", err
	}
	return w.Write(ctx, operation.Commit{Author: by, Committer: by, Message: req.GetCommitMessage()}, tree, parent)
}

func submoduleRefused(err error, c ref.Change) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, r.Error(), &gitalypb.UserUpdateSubmoduleError{
			Error: &gitalypb.UserUpdateSubmoduleError_CustomHook{CustomHook: customHook(r)},
		})
	case refused: // there is no detail for the internal API's no
		return errs.New(errs.Denied, r.Error())
	case errs.KindOf(err) == errs.Conflict:
		return detailed(codes.FailedPrecondition, changedText(c.Name), &gitalypb.UserUpdateSubmoduleError{
			Error: &gitalypb.UserUpdateSubmoduleError_ReferenceUpdate{ReferenceUpdate: referenceUpdate(c)},
		})
	}
	return err
}
