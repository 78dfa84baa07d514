package rpc

import (
	"errors"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/ref"
)

// CheckObjectsExist says for each revision of the stream whether there is such an
// object.
func (s Commit) CheckObjectsExist(stream gitalypb.CommitService_CheckObjectsExistServer) error {
	req, err := stream.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return invalid("repository not set")
		}
		return err
	}
	ctx := stream.Context()
	_, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.CheckObjectsExistResponse_RevisionExistence]{
		send: func(r []*gitalypb.CheckObjectsExistResponse_RevisionExistence) error {
			return stream.Send(&gitalypb.CheckObjectsExistResponse{Revisions: r})
		},
	}
	for ; err == nil; req, err = stream.Recv() {
		for _, rev := range req.GetRevisions() {
			if err := ref.CheckRevision(string(rev)); err != nil {
				return err
			}
			_, err := objects.Info(string(rev))
			if err != nil && errs.KindOf(err) != errs.NotFound {
				return err
			}
			if err := out.add(&gitalypb.CheckObjectsExistResponse_RevisionExistence{Name: rev, Exists: err == nil}); err != nil {
				return err
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return out.flush()
}
