package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
)

// UpdateReferences moves references, all or none, without hooks and without asking
// anybody: callers have decided already.
func (s Ref) UpdateReferences(stream gitalypb.RefService_UpdateReferencesServer) error {
	req, err := stream.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return invalid("repository not set")
		}
		return err
	}
	ctx := stream.Context()
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	began := s.Now()
	t, err := ref.Begin(ctx, s.Git, &repo.Repo, gitcmd.Spec{NoHooks: true})
	if err != nil {
		return err
	}
	if err := receiveUpdates(t, req, stream); err != nil {
		t.Abort()
		return err
	}
	if err := t.Commit(); err != nil {
		return updateError(err)
	}
	if err := pack.SyncChanged(repo.Dir, began); err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.UpdateReferencesResponse{})
}

// receiveUpdates queues the updates of the first request and of those that follow.
func receiveUpdates(t *ref.Transaction, first *gitalypb.UpdateReferencesRequest, stream gitalypb.RefService_UpdateReferencesServer) error {
	for req := first; ; {
		if len(req.GetUpdates()) == 0 {
			return invalid("no updates specified")
		}
		for _, u := range req.GetUpdates() {
			if !ref.Valid(string(u.GetReference())) {
				return detailed(codes.InvalidArgument, "invalid reference", &gitalypb.UpdateReferencesError{
					Error: &gitalypb.UpdateReferencesError_InvalidFormat{InvalidFormat: &gitalypb.InvalidRefFormatError{Refs: [][]byte{u.GetReference()}}},
				})
			}
			err := t.Add(ref.Change{Name: string(u.GetReference()), New: string(u.GetNewObjectId()), Old: string(u.GetOldObjectId())})
			if err != nil {
				return err
			}
		}
		var err error
		if req, err = stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if req.GetRepository() != nil {
			return invalid("repository set in subsequent request")
		}
	}
}

// updateError adds the detail to what the transaction says.
func updateError(err error) error {
	var detail gitalypb.UpdateReferencesError
	var locked *ref.LockedError
	var state *ref.StateError
	switch {
	case errors.As(err, &locked):
		detail.Error = &gitalypb.UpdateReferencesError_ReferencesLocked{ReferencesLocked: lockedReferences(locked)}
	case errors.As(err, &state):
		detail.Error = &gitalypb.UpdateReferencesError_ReferenceStateMismatch{ReferenceStateMismatch: &gitalypb.ReferenceStateMismatchError{
			ReferenceName: []byte(state.Name), ExpectedObjectId: []byte(state.Expected), ActualObjectId: []byte(state.Actual),
		}}
	default:
		return err
	}
	return detailed(codes.Aborted, err.Error(), &detail)
}

func lockedReferences(e *ref.LockedError) *gitalypb.ReferencesLockedError {
	if e.Name == "" {
		return &gitalypb.ReferencesLockedError{}
	}
	return &gitalypb.ReferencesLockedError{Refs: [][]byte{[]byte(e.Name)}}
}

// DeleteRefs deletes references whatever they point at, all or none: the named ones,
// or all but those below some prefixes.
func (s Ref) DeleteRefs(ctx context.Context, req *gitalypb.DeleteRefsRequest) (*gitalypb.DeleteRefsResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := checkDeleteRefs(req); err != nil {
		return nil, err
	}
	began := s.Now()
	if len(req.GetRefs()) > 0 {
		err = ref.Delete(ctx, s.Git, &repo.Repo, texts(req.GetRefs()))
	} else {
		err = ref.DeleteExcept(ctx, s.Git, &repo.Repo, texts(req.GetExceptWithPrefix()))
	}
	var locked *ref.LockedError
	if errors.As(err, &locked) {
		return nil, detailed(codes.FailedPrecondition, "cannot lock references", &gitalypb.DeleteRefsError{
			Error: &gitalypb.DeleteRefsError_ReferencesLocked{ReferencesLocked: lockedReferences(locked)},
		})
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.DeleteRefsResponse{}, pack.SyncChanged(repo.Dir, began)
}

func checkDeleteRefs(req *gitalypb.DeleteRefsRequest) error {
	switch {
	case len(req.GetExceptWithPrefix()) > 0 && len(req.GetRefs()) > 0:
		return invalid("ExceptWithPrefix and Refs are mutually exclusive")
	case len(req.GetExceptWithPrefix()) == 0 && len(req.GetRefs()) == 0: // that would delete everything
		return invalid("empty ExceptWithPrefix and Refs")
	}
	for _, prefix := range req.GetExceptWithPrefix() {
		if len(prefix) == 0 {
			return invalid("empty prefix for exclusion")
		}
	}
	var malformed [][]byte
	for _, name := range req.GetRefs() {
		if len(name) == 0 {
			return invalid("empty ref")
		}
		if !ref.Valid(string(name)) {
			malformed = append(malformed, name)
		}
	}
	if len(malformed) == 0 {
		return nil
	}
	return detailed(codes.InvalidArgument, "invalid references", &gitalypb.DeleteRefsError{
		Error: &gitalypb.DeleteRefsError_InvalidFormat{InvalidFormat: &gitalypb.InvalidRefFormatError{Refs: malformed}},
	})
}
