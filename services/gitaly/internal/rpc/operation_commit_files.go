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

// UserCommitFiles makes one commit out of changes to single files.
func (s Operation) UserCommitFiles(stream gitalypb.OperationService_UserCommitFilesServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return invalid("empty UserCommitFilesRequestHeader")
	}
	repo, err := s.standing(ctx, header.GetRepository())
	if err != nil {
		return err
	}
	if err := checkCommitFiles(header); err != nil {
		return err
	}
	full, err := shortBranch(header.GetBranchName())
	if err != nil {
		return err
	}
	w, done, err := s.begin(ctx, header.GetRepository(), repo, header.GetUser())
	if err != nil {
		return err
	}
	defer done()
	parent, change, err := s.commitParent(ctx, w, full, header)
	if err != nil {
		return err
	}
	if change.New, err = s.commitFiles(ctx, w, parent, header, &fileStream{recv: stream.Recv}); err != nil {
		return commitFilesFault(err)
	}
	had, err := w.HasBranches(ctx)
	if err != nil {
		return err
	}
	if change.Old == "" {
		change.Old = ref.ZeroOID(change.New)
	}
	if err := commitFilesRefused(w.Move(ctx, change), header.GetUser(), change); err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.UserCommitFilesResponse{BranchUpdate: &gitalypb.OperationBranchUpdate{
		CommitId: change.New, RepoCreated: !had, BranchCreated: change.Old == ref.ZeroOID(change.Old),
	}})
}

func checkCommitFiles(header *gitalypb.UserCommitFilesRequestHeader) error {
	switch {
	case header.GetUser() == nil:
		return invalid("empty User")
	case len(header.GetCommitMessage()) == 0:
		return invalid("empty CommitMessage")
	case len(header.GetBranchName()) == 0:
		return invalid("empty BranchName")
	case header.GetStartSha() != "" && !ref.ValidOID(header.GetStartSha()):
		return errs.Newf(errs.Invalid, "invalid object ID: %q", header.GetStartSha())
	}
	return nil
}

// commitParent finds the parent, "" for none, and what the branch must be, "" if it
// must not exist.
func (s Operation) commitParent(ctx context.Context, w *operation.Work, full string, header *gitalypb.UserCommitFilesRequestHeader) (parent string, change ref.Change, err error) {
	change.Name = full
	current, err := w.Resolve(full)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return "", change, err
	}
	if parent, err = s.startCommit(ctx, w, current, header); err != nil {
		return "", change, err
	}
	switch {
	case header.GetExpectedOldOid() != "":
		change.Old, err = expected(w, header.GetExpectedOldOid(), true)
	case header.GetForce(), current == "":
		change.Old = current
	default:
		change.Old = parent
	}
	return parent, change, err
}

// startCommit finds the parent: the one that is named by id, else the tip of the
// start branch. In a repository without branches there is none.
func (s Operation) startCommit(ctx context.Context, w *operation.Work, current string, header *gitalypb.UserCommitFilesRequestHeader) (string, error) {
	other, err := s.other(ctx, header.GetStartRepository(), header.GetRepository())
	if err != nil {
		return "", err
	}
	from, text := header.GetStartBranchName(), "resolve start ref: reference not found"
	switch {
	case header.GetStartSha() != "":
		from, text = []byte(header.GetStartSha()), "cannot resolve parent commit: reference not found"
	case other == nil && len(from) == 0:
		return current, nil
	case len(from) == 0:
		from = header.GetBranchName()
	}
	oid, err := w.ResolveIn(ctx, other, branchRevision(from))
	if errs.KindOf(err) != errs.NotFound {
		return oid, err
	}
	if had, err := w.HasBranches(ctx); err != nil || !had && other == nil && header.GetStartSha() == "" {
		return "", err
	}
	return "", invalid(text)
}

// commitFiles makes the commit.
func (s Operation) commitFiles(ctx context.Context, w *operation.Work, parent string, header *gitalypb.UserCommitFilesRequestHeader, changes *fileStream) (_ string, err error) {
	committer, err := s.Operations.Sign(header.GetUser(), header.GetTimestamp())
	if err != nil {
		return "", err
	}
	tree, parents := "", []string(nil)
	if parent != "" {
		raw, err := w.Raw(parent)
		if err != nil {
			return "", err
		}
		tree, parents = raw.Tree, []string{parent}
	}
	files := w.Files(tree)
	defer func() { err = errors.Join(err, files.Close()) }()
	for {
		action, err := changes.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = changes.apply(ctx, files, action)
		}
		if err != nil {
			return "", err
		}
	}
	if tree, err = files.Tree(ctx); err != nil {
		return "", err
	}
	author := committer.By(header.GetCommitAuthorName(), header.GetCommitAuthorEmail())
	return w.Write(ctx, operation.Commit{Author: author, Committer: committer, Message: header.GetCommitMessage()}, tree, parents...)
}

// commitFilesFault has the detail for a change that is not possible.
func commitFilesFault(err error) error {
	var fault *operation.PathFault
	if !errors.As(err, &fault) {
		return err
	}
	code := codes.InvalidArgument
	switch fault.Type {
	case gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS, gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS:
		code = codes.AlreadyExists
	case gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND:
		code = codes.NotFound
	default:
	}
	return detailed(code, fault.Error(), &gitalypb.UserCommitFilesError{
		Error: &gitalypb.UserCommitFilesError_IndexUpdate{IndexUpdate: &gitalypb.IndexError{Path: []byte(fault.Path), ErrorType: fault.Type}},
	})
}

func commitFilesRefused(err error, user *gitalypb.User, c ref.Change) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, "denied by custom hooks: "+r.Error(), &gitalypb.UserCommitFilesError{
			Error: &gitalypb.UserCommitFilesError_CustomHook{CustomHook: customHook(r)},
		})
	case refused:
		return detailed(codes.PermissionDenied, r.Error(), &gitalypb.UserCommitFilesError{
			Error: &gitalypb.UserCommitFilesError_AccessCheck{AccessCheck: accessCheck(r, user, c)},
		})
	}
	return changed(err, c.Name)
}
