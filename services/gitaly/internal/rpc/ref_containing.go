package rpc

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// ListBranchNamesContainingCommit streams the short names of the branches from which a
// commit can be reached.
func (s Ref) ListBranchNamesContainingCommit(req *gitalypb.ListBranchNamesContainingCommitRequest, stream gitalypb.RefService_ListBranchNamesContainingCommitServer) error {
	return s.containing(stream.Context(), req, ref.Branches, func(names [][]byte) error {
		return stream.Send(&gitalypb.ListBranchNamesContainingCommitResponse{BranchNames: names})
	})
}

// ListTagNamesContainingCommit streams the short names of the tags from which a commit
// can be reached.
func (s Ref) ListTagNamesContainingCommit(req *gitalypb.ListTagNamesContainingCommitRequest, stream gitalypb.RefService_ListTagNamesContainingCommitServer) error {
	return s.containing(stream.Context(), req, ref.Tags, func(names [][]byte) error {
		return stream.Send(&gitalypb.ListTagNamesContainingCommitResponse{TagNames: names})
	})
}

type containingRequest interface {
	GetRepository() *gitalypb.Repository
	GetCommitId() string
	GetLimit() uint32
}

func (s Ref) containing(ctx context.Context, req containingRequest, namespace string, send func([][]byte) error) error {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if !ref.ValidOID(req.GetCommitId()) {
		return errs.Newf(errs.Invalid, "invalid object ID: %q", req.GetCommitId())
	}
	out := chunks[[]byte]{send: send}
	q := ref.Query{Patterns: []string{namespace}, Contains: req.GetCommitId(), Limit: int(req.GetLimit())}
	err = ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		return out.add([]byte(strings.TrimPrefix(r.Name, namespace)))
	})
	return out.end(err)
}

// maxAnswer keeps an answer of one message below gRPC's limit of 4 MiB.
const maxAnswer = 3 << 20

// FindRefsByOID returns the names of the references that hold an object, or a tag of
// it. Bytes of a name that are no text are replaced: the answer has no room for them.
func (s Ref) FindRefsByOID(ctx context.Context, req *gitalypb.FindRefsByOIDRequest) (*gitalypb.FindRefsByOIDResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if req.GetOid() == "" {
		return nil, invalid("empty Oid")
	}
	q := ref.Query{Patterns: req.GetRefPatterns(), PointsAt: []string{req.GetOid()}, Limit: int(req.GetLimit())}
	if len(q.Patterns) == 0 {
		q.Patterns = []string{ref.Tags, ref.Branches}
	}
	q.Sort, q.Descending = strings.CutPrefix(req.GetSortField(), "-")
	answer, size := &gitalypb.FindRefsByOIDResponse{}, 0
	err = ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		if size += len(r.Name); size > maxAnswer {
			return errs.New(errs.Exhausted, "too many references: ask with a limit")
		}
		answer.Refs = append(answer.Refs, strings.ToValidUTF8(r.Name, "\uFFFD"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
