package rpc

import (
	"bytes"
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
)

// UserSquash makes one commit out of many. No reference moves: the caller names the
// commit in a later call.
func (s Operation) UserSquash(ctx context.Context, req *gitalypb.UserSquashRequest) (*gitalypb.UserSquashResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := checkSquash(req); err != nil {
		return nil, err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	start, err := squashEnd(w, req.GetStartSha(), "resolving start revision: reference not found")
	if err != nil {
		return nil, err
	}
	end, err := squashEnd(w, req.GetEndSha(), "resolving end revision: reference not found")
	if err != nil {
		return nil, err
	}
	committer, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return nil, err
	}
	author, err := s.Operations.Sign(req.GetAuthor(), req.GetTimestamp())
	if err != nil {
		return nil, err
	}
	author.When = committer.When.In(author.When.Location()) // one moment, also when no time was given
	message := req.GetCommitMessage()
	if !bytes.HasSuffix(message, []byte("\n")) { // as git commit-tree does, which squashed once
		message = append(bytes.Clone(message), '\n')
	}
	oid, err := w.Merge(ctx, operation.Commit{Author: author, Committer: committer, Message: message}, start, end, true)
	if c, ok := asConflict(err); ok {
		return nil, detailed(codes.FailedPrecondition, "squashing commits: "+c.Error(), &gitalypb.UserSquashError{
			Error: &gitalypb.UserSquashError_RebaseConflict{RebaseConflict: mergeConflict(c, start, end)},
		})
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.UserSquashResponse{SquashSha: oid}, w.Keep(ctx)
}

func checkSquash(req *gitalypb.UserSquashRequest) error {
	switch {
	case req.GetUser() == nil:
		return invalid("empty User")
	case len(req.GetUser().GetName()) == 0:
		return invalid("empty user name")
	case len(req.GetUser().GetEmail()) == 0:
		return invalid("empty user email")
	case req.GetStartSha() == "":
		return invalid("empty StartSha")
	case req.GetEndSha() == "":
		return invalid("empty EndSha")
	case len(req.GetCommitMessage()) == 0:
		return invalid("empty CommitMessage")
	case req.GetAuthor() == nil:
		return invalid("empty Author")
	case len(req.GetAuthor().GetName()) == 0:
		return invalid("empty author name")
	case len(req.GetAuthor().GetEmail()) == 0:
		return invalid("empty author email")
	}
	return nil
}

// squashEnd resolves one end of the range.
func squashEnd(w *operation.Work, revision, text string) (string, error) {
	oid, err := w.Resolve(revision)
	if errs.KindOf(err) == errs.NotFound {
		return "", detailed(codes.InvalidArgument, text, &gitalypb.UserSquashError{
			Error: &gitalypb.UserSquashError_ResolveRevision{ResolveRevision: &gitalypb.ResolveRevisionError{Revision: []byte(revision)}},
		})
	}
	return oid, err
}
