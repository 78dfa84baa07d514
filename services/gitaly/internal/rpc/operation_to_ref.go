package rpc

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// mergeRequests is where results may be put that are nobody's push.
const mergeRequests = "refs/merge-requests"

// UserMergeToRef merges a commit into the tip of a branch and puts the merge under
// refs/merge-requests/. No hook runs.
func (s Operation) UserMergeToRef(ctx context.Context, req *gitalypb.UserMergeToRefRequest) (*gitalypb.UserMergeToRefResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	first := string(req.GetFirstParentRef())
	if first == "" {
		first = string(req.GetBranch()) //nolint:staticcheck // older callers send the old name
	}
	switch {
	case first == "":
		return nil, invalid("empty first parent ref and branch name")
	case req.GetUser() == nil:
		return nil, invalid("empty user")
	case req.GetSourceSha() == "":
		return nil, invalid("empty source SHA")
	case len(req.GetTargetRef()) == 0:
		return nil, invalid("empty target ref")
	case !validTarget(req.GetTargetRef()):
		return nil, invalid("invalid target ref")
	case req.GetAllowConflicts(): //nolint:staticcheck // older callers may still send it
		return nil, errs.New(errs.Unimplemented, "conflicts are not committed")
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	change, source, err := toRef(w, req.GetTargetRef(), first, req.GetSourceSha(), req.GetExpectedOldOid(), "Invalid merge source", "Invalid merge source")
	if err != nil {
		return nil, err
	}
	by, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return nil, err
	}
	onto := change.New
	change.New, err = w.Merge(ctx, operation.Commit{Author: by, Committer: by, Message: req.GetMessage()}, onto, source, false)
	if _, ok := asConflict(err); ok {
		return nil, errs.Wrap(errs.FailedPrecondition,
			"Failed to create merge commit for source_sha "+source+" and target_sha "+onto+" at "+change.Name, err)
	}
	if err != nil {
		return nil, err
	}
	if err := w.Place(ctx, change); errs.KindOf(err) == errs.Conflict {
		return nil, errs.Wrap(errs.FailedPrecondition, "Could not update "+change.Name+". Please refresh and try again", err)
	} else if err != nil {
		return nil, err
	}
	return &gitalypb.UserMergeToRefResponse{CommitId: change.New}, nil
}

// UserRebaseToRef rebases commits onto the tip of a branch and puts the last one
// under refs/merge-requests/. No hook runs.
func (s Operation) UserRebaseToRef(ctx context.Context, req *gitalypb.UserRebaseToRefRequest) (*gitalypb.UserRebaseToRefResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.GetFirstParentRef()) == 0:
		return nil, invalid("empty FirstParentRef")
	case req.GetUser() == nil:
		return nil, invalid("empty User")
	case req.GetSourceSha() == "":
		return nil, invalid("empty SourceSha")
	case len(req.GetTargetRef()) == 0:
		return nil, invalid("empty TargetRef")
	case !validTarget(req.GetTargetRef()):
		return nil, invalid("invalid TargetRef")
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	change, source, err := toRef(w, req.GetTargetRef(), string(req.GetFirstParentRef()), req.GetSourceSha(), req.GetExpectedOldOid(),
		"invalid FirstParentRef", "invalid SourceSha")
	if err != nil {
		return nil, err
	}
	by, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return nil, err
	}
	onto := change.New
	change.New, err = w.Rebase(ctx, onto, source, by)
	if _, ok := asConflict(err); ok {
		return nil, errs.Wrap(errs.FailedPrecondition,
			"failed to rebase "+source+" on "+onto+" while preparing "+change.Name+" due to conflict", err)
	}
	if err != nil {
		return nil, err
	}
	if err := w.Place(ctx, change); errs.KindOf(err) == errs.Conflict {
		return nil, errs.Wrap(errs.FailedPrecondition, "could not update "+change.Name+". Please refresh and try again", err)
	} else if err != nil {
		return nil, err
	}
	return &gitalypb.UserRebaseToRefResponse{CommitId: change.New}, nil
}

func validTarget(name []byte) bool {
	return strings.HasPrefix(string(name), mergeRequests+"/") && ref.Valid(string(name))
}

// toRef finds what both RPCs begin with: the reference, with the first parent as its
// new id for now, and the source. The texts are for revisions that are no commits.
func toRef(w *operation.Work, name []byte, first, source, wanted, firstText, sourceText string) (ref.Change, string, error) {
	change := ref.Change{Name: string(name)}
	var err error
	if change.New, err = w.Resolve(first); errs.KindOf(err) == errs.NotFound {
		return change, "", invalid(firstText)
	} else if err != nil {
		return change, "", err
	}
	oid, err := w.Resolve(source)
	if errs.KindOf(err) == errs.NotFound {
		return change, "", invalid(sourceText)
	}
	if err != nil {
		return change, "", err
	}
	change.Old, err = target(w, change.Name, wanted, oid)
	return change, oid, err
}
