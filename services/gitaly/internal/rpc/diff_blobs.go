package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/storage"
)

// DiffBlobs streams patches between pairs of blobs.
func (s Diff) DiffBlobs(req *gitalypb.DiffBlobsRequest, stream gitalypb.DiffService_DiffBlobsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	o, err := blobOptions(req)
	if err != nil {
		return err
	}
	pairs, err := s.pairs(ctx, repo, req)
	if err != nil {
		return err
	}
	scratch, err := repo.NewQuarantine()
	if err != nil {
		return err
	}
	defer func() { _ = scratch.Close() }()
	var out parts
	return diff.Blobs(ctx, s.Git, &scratch.Repo.Repo, pairs, o, func(f *diff.File, data []byte, last bool) error {
		return out.send(data, last, func(p part) error {
			resp := &gitalypb.DiffBlobsResponse{Patch: p.data}
			if p.end {
				resp.Status = gitalypb.DiffBlobsResponse_STATUS_END_OF_PATCH
			}
			if p.facts {
				resp.LeftBlobId, resp.RightBlobId, resp.Binary, resp.OverPatchBytesLimit = f.OldID, f.NewID, f.Binary, f.TooLarge
			}
			if p.counts {
				resp.PatchSize, resp.LinesAdded, resp.LinesRemoved = int32(f.Size), int32(f.Added), int32(f.Removed)
			}
			return stream.Send(resp)
		})
	})
}

func blobOptions(req *gitalypb.DiffBlobsRequest) (diff.Options, error) {
	o := diff.Options{Words: req.GetDiffMode() == gitalypb.DiffBlobsRequest_DIFF_MODE_WORD}
	if n := req.GetPatchBytesLimit(); n > 0 {
		o.Limits = diff.Limits{Enforce: true, PatchOnly: true, PatchBytes: int(n)}
	}
	switch req.GetWhitespaceChanges() {
	case gitalypb.DiffBlobsRequest_WHITESPACE_CHANGES_IGNORE:
		o.Whitespace = diff.IgnoreSpaceChange
	case gitalypb.DiffBlobsRequest_WHITESPACE_CHANGES_IGNORE_ALL:
		o.Whitespace = diff.IgnoreAllSpace
	case gitalypb.DiffBlobsRequest_WHITESPACE_CHANGES_UNSPECIFIED:
	}
	switch {
	case len(req.GetBlobPairs()) == 0 && len(req.GetRawInfo()) == 0:
		return o, invalid("request contains no file pairs to diff")
	case len(req.GetBlobPairs()) > 0 && len(req.GetRawInfo()) > 0:
		return o, invalid("blob pairs and raw info both used in request")
	case len(req.GetBlobPairs()) > 0 && o.Whitespace != diff.WhitespaceCounts:
		return o, invalid("whitespace changes cannot be ignored when blob pairs are provided")
	}
	return o, nil
}

// pairs reads both forms of requests.
func (s Diff) pairs(ctx context.Context, repo *storage.Repo, req *gitalypb.DiffBlobsRequest) ([]diff.Change, error) {
	var pairs []diff.Change
	for _, i := range req.GetRawInfo() {
		if err := checkRawInfo(i); err != nil {
			return nil, err
		}
		pairs = append(pairs, diff.Change{OldID: i.GetOldBlobId(), NewID: i.GetNewBlobId(), OldMode: i.GetOldMode(), NewMode: i.GetNewMode()})
	}
	if len(pairs) > 0 {
		return pairs, nil
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	for _, p := range req.GetBlobPairs() {
		c, err := diff.ResolvePair(objects, string(p.GetLeftBlob()), string(p.GetRightBlob()))
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, c)
	}
	return pairs, nil
}

func checkRawInfo(i *gitalypb.ChangedPaths) error {
	moved := i.GetStatus() == gitalypb.ChangedPaths_RENAMED || i.GetStatus() == gitalypb.ChangedPaths_COPIED
	switch {
	case i.GetOldBlobId() == "" || i.GetNewBlobId() == "":
		return invalid("raw info entry missing blob IDs")
	case len(i.GetPath()) == 0:
		return invalid("raw info entry missing path")
	case moved && len(i.GetOldPath()) == 0:
		return invalid("rename/copy raw info entry missing old path")
	case len(i.GetOldBlobId()) != len(i.GetNewBlobId()):
		return errs.New(errs.Invalid, "raw info entry with ids of two formats")
	}
	return nil
}
