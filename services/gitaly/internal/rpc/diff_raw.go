package rpc

import (
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
)

// RawDiff streams the patch between two revisions.
func (s Diff) RawDiff(req *gitalypb.RawDiffRequest, stream gitalypb.DiffService_RawDiffServer) error {
	repo, r, err := s.between(stream.Context(), req)
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.RawDiffResponse{Data: b}) })
	return diff.Raw(stream.Context(), s.Git, &repo.Repo, r, w)
}

// RawPatch streams commits as mails.
func (s Diff) RawPatch(req *gitalypb.RawPatchRequest, stream gitalypb.DiffService_RawPatchServer) error {
	repo, r, err := s.between(stream.Context(), req)
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.RawPatchResponse{Data: b}) })
	return diff.Mails(stream.Context(), s.Git, &repo.Repo, r, w)
}
