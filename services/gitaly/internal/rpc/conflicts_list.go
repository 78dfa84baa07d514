package rpc

import (
	"unicode/utf8"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/conflict"
	"gitsplit/services/gitaly/internal/operation"
)

// Conflicts is ConflictsService.
type Conflicts struct {
	gitalypb.UnimplementedConflictsServiceServer
	*Deps
}

// ListConflictFiles lists the files in which two commits conflict, with git's
// conflict markers.
func (s Conflicts) ListConflictFiles(req *gitalypb.ListConflictFilesRequest, stream gitalypb.ConflictsService_ListConflictFilesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	switch {
	case req.GetOurCommitOid() == "":
		return invalid("empty OurCommitOid")
	case req.GetTheirCommitOid() == "":
		return invalid("empty TheirCommitOid")
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, nil)
	if err != nil {
		return err
	}
	defer done()
	ours, err := conflictSide(w, req.GetOurCommitOid(), "could not lookup 'our' OID: reference not found")
	if err != nil {
		return err
	}
	theirs, err := conflictSide(w, req.GetTheirCommitOid(), "could not lookup 'their' OID: reference not found")
	if err != nil {
		return err
	}
	_, err = w.MergeTrees(ctx, ours, theirs)
	c, ok := asConflict(err)
	if !ok {
		return err
	}
	out := chunks[*gitalypb.ConflictFile]{send: func(files []*gitalypb.ConflictFile) error {
		return stream.Send(&gitalypb.ListConflictFilesResponse{Files: files})
	}}
	for _, f := range c.ByFile() {
		if !req.GetAllowTreeConflicts() && (f.Ours == nil || f.Theirs == nil) {
			return errs.New(errs.FailedPrecondition, "conflict side missing")
		}
		if err := out.add(&gitalypb.ConflictFile{ConflictFilePayload: &gitalypb.ConflictFile_Header{Header: conflictHeader(f, req.GetOurCommitOid())}}); err != nil {
			return err
		}
		if req.GetSkipContent() {
			continue
		}
		if err := sendConflict(w, c, f, ours, theirs, &out); err != nil {
			return err
		}
	}
	return out.flush()
}

func conflictSide(w *operation.Work, revision, text string) (string, error) {
	oid, err := w.Resolve(revision)
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.New(errs.FailedPrecondition, text)
	}
	return oid, err
}

func conflictHeader(f operation.ConflictFile, oid string) *gitalypb.ConflictFileHeader {
	h := &gitalypb.ConflictFileHeader{CommitOid: oid}
	if f.Ours != nil {
		h.OurPath, h.OurMode = []byte(f.Ours.Path), f.Ours.Mode
	}
	if f.Theirs != nil {
		h.TheirPath = []byte(f.Theirs.Path)
	}
	if f.Ancestor != nil {
		h.AncestorPath = []byte(f.Ancestor.Path)
	}
	return h
}

// sendConflict sends the content of a file in pieces.
func sendConflict(w *operation.Work, c *operation.Conflict, f operation.ConflictFile, ours, theirs string, out *chunks[*gitalypb.ConflictFile]) error {
	_, content, err := w.Merged(c, f.Path())
	if err != nil {
		return err
	}
	if !utf8.Valid(content) {
		return errs.New(errs.FailedPrecondition, "unsupported encoding")
	}
	var ourPath, theirPath string
	if f.Ours != nil {
		ourPath = f.Ours.Path
	}
	if f.Theirs != nil {
		theirPath = f.Theirs.Path
	}
	pieces := streamio.NewWriter(func(piece []byte) error {
		return out.add(&gitalypb.ConflictFile{ConflictFilePayload: &gitalypb.ConflictFile_Content{Content: append([]byte(nil), piece...)}})
	})
	_, err = pieces.Write(conflict.Show(content, ours, theirs, ourPath, theirPath))
	return err
}
