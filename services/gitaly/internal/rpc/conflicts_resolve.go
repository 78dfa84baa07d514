package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/conflict"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// maxResolutions bounds the JSON of ResolveConflicts, in bytes.
const maxResolutions = 16 << 20

// ResolveConflicts merges the target branch into the source branch, with a person's
// resolutions in place of the conflicts. Resolutions that do not fit are part of a
// good answer.
func (s Conflicts) ResolveConflicts(stream gitalypb.ConflictsService_ResolveConflictsServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return invalid("empty ResolveConflictsRequestHeader")
	}
	repo, err := s.standing(ctx, header.GetRepository())
	if err != nil {
		return err
	}
	full, err := checkResolve(header)
	if err != nil {
		return err
	}
	resolutions, err := readResolutions(streamio.NewReader(func() ([]byte, error) {
		req, err := stream.Recv()
		return req.GetFilesJson(), err
	}))
	if err != nil {
		return err
	}
	w, done, err := s.begin(ctx, header.GetRepository(), repo, header.GetUser())
	if err != nil {
		return err
	}
	defer done()
	change := ref.Change{Name: full, Old: header.GetOurCommitOid()}
	change.New, err = s.resolveConflicts(ctx, w, header, resolutions)
	var unresolved *conflict.Unresolved
	if errors.As(err, &unresolved) {
		return stream.SendAndClose(&gitalypb.ResolveConflictsResponse{ResolutionError: unresolved.Text})
	}
	if err == nil {
		err = w.Move(ctx, change)
	}
	if r, ok := asRefused(err); ok { // there is no detail for it
		return errs.New(errs.Denied, r.Error())
	}
	if err != nil {
		return changed(err, full)
	}
	return stream.SendAndClose(&gitalypb.ResolveConflictsResponse{})
}

func checkResolve(header *gitalypb.ResolveConflictsRequestHeader) (full string, err error) {
	switch {
	case header.GetOurCommitOid() == "":
		return "", invalid("empty OurCommitOid")
	case header.GetTargetRepository() == nil:
		return "", invalid("empty TargetRepository")
	case header.GetTheirCommitOid() == "":
		return "", invalid("empty TheirCommitOid")
	case len(header.GetSourceBranch()) == 0:
		return "", invalid("empty SourceBranch")
	case len(header.GetTargetBranch()) == 0:
		return "", invalid("empty TargetBranch")
	case len(header.GetCommitMessage()) == 0:
		return "", invalid("empty CommitMessage")
	case header.GetUser() == nil:
		return "", invalid("empty User")
	case !ref.ValidOID(header.GetOurCommitOid()), !ref.ValidOID(header.GetTheirCommitOid()):
		return "", invalid("unable to parse OID - contains invalid characters")
	}
	return shortBranch(header.GetSourceBranch())
}

// readResolutions reads the JSON.
func readResolutions(r io.Reader) ([]operation.Resolution, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxResolutions+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxResolutions {
		return nil, errs.Newf(errs.Invalid, "resolutions are larger than %d bytes", maxResolutions)
	}
	var keys []map[string]json.RawMessage
	var resolutions []operation.Resolution
	if err := errors.Join(json.Unmarshal(raw, &keys), json.Unmarshal(raw, &resolutions)); err != nil {
		return nil, errs.Wrap(errs.Invalid, "resolutions are no JSON of the expected form", err)
	}
	for _, k := range keys {
		if k["sections"] == nil && k["content"] == nil {
			return nil, invalid("missing sections or content for a resolution")
		}
	}
	return resolutions, nil
}

// resolveConflicts makes the merge.
func (s Conflicts) resolveConflicts(ctx context.Context, w *operation.Work, header *gitalypb.ResolveConflictsRequestHeader, resolutions []operation.Resolution) (string, error) {
	by, err := s.Operations.Sign(header.GetUser(), header.GetTimestamp())
	if err != nil {
		return "", err
	}
	target, err := s.other(ctx, header.GetTargetRepository(), header.GetRepository())
	if err != nil {
		return "", err
	}
	if _, err := w.ResolveIn(ctx, target, branchRevision(header.GetTargetBranch())); errs.KindOf(err) == errs.NotFound {
		return "", errs.New(errs.FailedPrecondition, "could not resolve target branch")
	} else if err != nil {
		return "", err
	}
	ours, err := conflictSide(w, header.GetOurCommitOid(), "could not lookup 'our' OID: reference not found")
	if err != nil {
		return "", err
	}
	theirs, err := conflictSide(w, header.GetTheirCommitOid(), "could not lookup 'their' OID: reference not found")
	if err != nil {
		return "", err
	}
	tree, err := w.ResolveConflicts(ctx, ours, theirs, resolutions)
	if err != nil {
		return "", err
	}
	return w.Write(ctx, operation.Commit{Author: by, Committer: by, Message: header.GetCommitMessage()}, tree, ours, theirs)
}
