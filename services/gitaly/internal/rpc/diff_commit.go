package rpc

import (
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
)

// CommitDiff streams the changed files with their patches, within limits.
func (s Diff) CommitDiff(req *gitalypb.CommitDiffRequest, stream gitalypb.DiffService_CommitDiffServer) error {
	repo, r, err := s.between(stream.Context(), req)
	if err != nil {
		return err
	}
	r.Paths = texts(req.GetPaths())
	o := diff.Options{Words: req.GetDiffMode() == gitalypb.CommitDiffRequest_WORDDIFF, Limits: commitDiffLimits(req)}
	switch req.GetWhitespaceChanges() {
	case gitalypb.CommitDiffRequest_WHITESPACE_CHANGES_IGNORE:
		o.Whitespace = diff.IgnoreSpaceChange
	case gitalypb.CommitDiffRequest_WHITESPACE_CHANGES_IGNORE_ALL:
		o.Whitespace = diff.IgnoreAllSpace
	case gitalypb.CommitDiffRequest_WHITESPACE_CHANGES_UNSPECIFIED:
	}
	var out parts
	return diff.Files(stream.Context(), s.Git, &repo.Repo, r, o, func(f *diff.File, data []byte, last bool) error {
		return out.send(data, last, func(p part) error {
			resp := &gitalypb.CommitDiffResponse{RawPatchData: p.data, EndOfPatch: p.end}
			if p.facts {
				resp.FromPath, resp.ToPath, resp.FromId, resp.ToId = f.OldPath, f.NewPath, f.OldID, f.NewID
				resp.OldMode, resp.NewMode, resp.Binary = f.OldMode, f.NewMode, f.Binary
				resp.OverflowMarker, resp.Collapsed, resp.TooLarge = f.Overflow, f.Collapsed, f.TooLarge
			}
			if p.counts {
				resp.LinesAdded, resp.LinesRemoved = int32(f.Added), int32(f.Removed)
			}
			return stream.Send(resp)
		})
	})
}

func commitDiffLimits(req *gitalypb.CommitDiffRequest) diff.Limits {
	l := diff.Limits{
		Enforce: req.GetEnforceLimits(), Collapse: req.GetCollapseDiffs(), AllPaths: req.GetCollectAllPaths(),
		Files: int(req.GetMaxFiles()), Lines: int(req.GetMaxLines()), Bytes: int(req.GetMaxBytes()),
		SafeFiles: int(req.GetSafeMaxFiles()), SafeLines: int(req.GetSafeMaxLines()), SafeBytes: int(req.GetSafeMaxBytes()),
		PatchBytes: int(req.GetMaxPatchBytes()), PatchBytesByExtension: map[string]int{},
	}
	for extension, n := range req.GetMaxPatchBytesForFileExtension() {
		l.PatchBytesByExtension[extension] = int(n)
	}
	return l
}

// CommitDelta streams the changed files without patches.
func (s Diff) CommitDelta(req *gitalypb.CommitDeltaRequest, stream gitalypb.DiffService_CommitDeltaServer) error {
	repo, r, err := s.between(stream.Context(), req)
	if err != nil {
		return err
	}
	r.Paths = texts(req.GetPaths())
	out := chunks[*gitalypb.CommitDelta]{send: func(d []*gitalypb.CommitDelta) error {
		return stream.Send(&gitalypb.CommitDeltaResponse{Deltas: d})
	}}
	err = diff.Changes(stream.Context(), s.Git, &repo.Repo, r, func(c diff.Change) error {
		return out.add(&gitalypb.CommitDelta{
			FromPath: c.OldPath, ToPath: c.NewPath, FromId: c.OldID, ToId: c.NewID, OldMode: c.OldMode, NewMode: c.NewMode,
		})
	})
	return out.end(err)
}

// DiffStats streams the numbers of changed lines.
func (s Diff) DiffStats(req *gitalypb.DiffStatsRequest, stream gitalypb.DiffService_DiffStatsServer) error {
	repo, r, err := s.between(stream.Context(), req)
	if err != nil {
		return err
	}
	out := chunks[*gitalypb.DiffStats]{send: func(d []*gitalypb.DiffStats) error {
		return stream.Send(&gitalypb.DiffStatsResponse{Stats: d})
	}}
	err = diff.Stats(stream.Context(), s.Git, &repo.Repo, r, func(st diff.Stat) error {
		return out.add(&gitalypb.DiffStats{Path: st.Path, OldPath: st.OldPath, Additions: int32(st.Added), Deletions: int32(st.Removed)})
	})
	return out.end(err)
}
