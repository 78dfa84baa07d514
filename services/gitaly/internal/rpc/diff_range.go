package rpc

import (
	"context"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
)

// GetPatchID returns git's id of a change.
func (s Diff) GetPatchID(ctx context.Context, req *gitalypb.GetPatchIDRequest) (*gitalypb.GetPatchIDResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	switch {
	case err != nil:
		return nil, err
	case len(req.GetOldRevision()) == 0:
		return nil, invalid("empty OldRevision")
	case len(req.GetNewRevision()) == 0:
		return nil, invalid("empty NewRevision")
	}
	id, err := diff.PatchID(ctx, s.Git, &repo.Repo, string(req.GetOldRevision()), string(req.GetNewRevision()), req.GetContextFree())
	if err != nil {
		return nil, err
	}
	return &gitalypb.GetPatchIDResponse{PatchId: id}, nil
}

// ranges is a request that compares two series of commits.
type ranges interface {
	GetRangePair() *gitalypb.RangePair
	GetRevisionRange() *gitalypb.RevisionRange
	GetBaseWithRevisions() *gitalypb.BaseWithRevisions
}

// rangeSpec returns the revisions as git range-diff wants them.
func rangeSpec(req ranges) ([]string, error) {
	var spec []string
	var names []string
	switch {
	case req.GetRangePair() != nil:
		spec = []string{req.GetRangePair().GetRange1(), req.GetRangePair().GetRange2()}
		names = []string{"Range1", "Range2"}
	case req.GetRevisionRange() != nil:
		spec = []string{req.GetRevisionRange().GetRev1(), req.GetRevisionRange().GetRev2()}
		names = []string{"Rev1", "Rev2"}
	case req.GetBaseWithRevisions() != nil:
		b := req.GetBaseWithRevisions()
		spec, names = []string{b.GetBase(), b.GetRev1(), b.GetRev2()}, []string{"Base", "Rev1", "Rev2"}
	default:
		return nil, invalid("empty RangeSpec")
	}
	for i, s := range spec {
		if s == "" {
			return nil, invalid("empty " + names[i])
		}
	}
	if req.GetRevisionRange() != nil {
		spec = []string{spec[0] + "..." + spec[1]}
	}
	return spec, nil
}

// RawRangeDiff streams what git range-diff prints.
func (s Diff) RawRangeDiff(req *gitalypb.RawRangeDiffRequest, stream gitalypb.DiffService_RawRangeDiffServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	spec, err := rangeSpec(req)
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.RawRangeDiffResponse{Data: b}) })
	return diff.RawRanges(stream.Context(), s.Git, &repo.Repo, spec, w)
}

var comparators = map[byte]gitalypb.RangeDiffResponse_Comparator{ //nolint:gochecknoglobals // a constant
	'=': gitalypb.RangeDiffResponse_COMPARATOR_EQUAL_UNSPECIFIED, '!': gitalypb.RangeDiffResponse_COMPARATOR_NOT_EQUAL,
	'<': gitalypb.RangeDiffResponse_COMPARATOR_LESS_THAN, '>': gitalypb.RangeDiffResponse_COMPARATOR_GREATER_THAN,
}

// RangeDiff streams the pairs of commits of two series.
func (s Diff) RangeDiff(req *gitalypb.RangeDiffRequest, stream gitalypb.DiffService_RangeDiffServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	spec, err := rangeSpec(req)
	if err != nil {
		return err
	}
	began := false
	return diff.Ranges(stream.Context(), s.Git, &repo.Repo, spec, func(p *diff.CommitPair, data []byte, last bool) error {
		resp := &gitalypb.RangeDiffResponse{PatchData: data, EndOfPatch: last}
		if !began {
			resp.FromCommitId, resp.ToCommitId = p.From, p.To
			resp.Comparison, resp.CommitMessageTitle = comparators[p.Relation], p.Title
		}
		began = !last
		return stream.Send(resp)
	})
}
