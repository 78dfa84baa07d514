package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserRebaseConfirmable rebases a branch, sends the new id, and moves the branch when
// the caller says so.
func (s Operation) UserRebaseConfirmable(stream gitalypb.OperationService_UserRebaseConfirmableServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return invalid("empty UserRebaseConfirmableRequest.Header")
	}
	repo, err := s.standing(ctx, header.GetRepository())
	if err != nil {
		return err
	}
	full, err := checkRebase(header)
	if err != nil {
		return err
	}
	w, done, err := s.begin(ctx, header.GetRepository(), repo, header.GetUser())
	if err != nil {
		return err
	}
	defer done()
	change := ref.Change{Name: full, Old: header.GetBranchSha()}
	if change.New, err = s.rebase(ctx, w, header); err != nil {
		return err
	}
	err = stream.Send(&gitalypb.UserRebaseConfirmableResponse{
		UserRebaseConfirmableResponsePayload: &gitalypb.UserRebaseConfirmableResponse_RebaseSha{RebaseSha: change.New},
	})
	if err != nil {
		return err
	}
	second, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !second.GetApply() {
		return errs.New(errs.FailedPrecondition, "rebase aborted by client")
	}
	if err := rebaseRefused(w.Move(ctx, change, header.GetGitPushOptions()...), header.GetUser(), change); err != nil {
		return err
	}
	return stream.Send(&gitalypb.UserRebaseConfirmableResponse{
		UserRebaseConfirmableResponsePayload: &gitalypb.UserRebaseConfirmableResponse_RebaseApplied{RebaseApplied: true},
	})
}

func checkRebase(header *gitalypb.UserRebaseConfirmableRequest_Header) (full string, err error) {
	switch {
	case header.GetUser() == nil:
		return "", invalid("empty User")
	case len(header.GetBranch()) == 0:
		return "", invalid("empty Branch")
	case header.GetBranchSha() == "":
		return "", invalid("empty BranchSha")
	case header.GetRemoteRepository() == nil:
		return "", invalid("empty RemoteRepository")
	case len(header.GetRemoteBranch()) == 0:
		return "", invalid("empty RemoteBranch")
	case ref.CheckRevision(string(header.GetRemoteBranch())) != nil:
		return "", invalid("invalid branch name")
	case !ref.ValidOID(header.GetBranchSha()):
		return "", errs.Newf(errs.NotFound, "invalid object ID: %q", header.GetBranchSha())
	}
	return shortBranch(header.GetBranch())
}

func (s Operation) rebase(ctx context.Context, w *operation.Work, header *gitalypb.UserRebaseConfirmableRequest_Header) (string, error) {
	remote, err := s.other(ctx, header.GetRemoteRepository(), header.GetRepository())
	if err != nil {
		return "", err
	}
	upstream, err := w.ResolveIn(ctx, remote, branchRevision(header.GetRemoteBranch()))
	if errs.KindOf(err) == errs.NotFound {
		return "", invalid("resolve start ref: reference not found")
	}
	if err != nil {
		return "", err
	}
	branch, err := w.Resolve(header.GetBranchSha())
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.New(errs.NotFound, "branch commit not found")
	}
	if err != nil {
		return "", err
	}
	by, err := s.Operations.Sign(header.GetUser(), header.GetTimestamp())
	if err != nil {
		return "", err
	}
	oid, err := w.Rebase(ctx, upstream, branch, by)
	if c, ok := asConflict(err); ok {
		return "", detailed(codes.FailedPrecondition, "rebasing commits: "+c.Error(), &gitalypb.UserRebaseConfirmableError{
			Error: &gitalypb.UserRebaseConfirmableError_RebaseConflict{RebaseConflict: mergeConflict(c, upstream, branch)},
		})
	}
	return oid, err
}

// rebaseRefused has the details for a branch that did not move; the words of a custom
// hook travel as those of the access check.
func rebaseRefused(err error, user *gitalypb.User, c ref.Change) error {
	if r, ok := asRefused(err); ok {
		return detailed(codes.PermissionDenied, fmt.Sprintf("access check: %q", r.Error()), &gitalypb.UserRebaseConfirmableError{
			Error: &gitalypb.UserRebaseConfirmableError_AccessCheck{AccessCheck: accessCheck(r, user, c)},
		})
	}
	return changed(err, c.Name)
}
