package rpc

import (
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Blob is BlobService.
type Blob struct {
	gitalypb.UnimplementedBlobServiceServer
	*Deps
}

// GetBlob streams a blob; limit 0 sends its size only, a negative one everything. A
// blob that is not there is an empty answer.
func (s Blob) GetBlob(req *gitalypb.GetBlobRequest, stream gitalypb.BlobService_GetBlobServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if req.GetOid() == "" {
		return invalid("empty Oid")
	}
	if !ref.ValidOID(req.GetOid()) {
		return invalid("invalid Oid")
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	info, err := objects.Info(req.GetOid())
	if errs.KindOf(err) == errs.NotFound || err == nil && info.Type != "blob" {
		return stream.Send(&gitalypb.GetBlobResponse{})
	}
	if err != nil {
		return err
	}
	if err := stream.Send(&gitalypb.GetBlobResponse{Size: info.Size, Oid: info.OID}); err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetBlobResponse{Data: b}) })
	return copyBlob(w, objects, info, req.GetLimit())
}

// copyBlob writes the first bytes of a blob, all of them for a negative limit.
func copyBlob(w io.Writer, objects *object.Reader, info object.Info, limit int64) error {
	if limit == 0 {
		return nil
	}
	if limit < 0 {
		limit = info.Size
	}
	_, rd, err := objects.Stream(info.OID)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, io.LimitReader(rd, limit)); err != nil {
		return err
	}
	return objects.Discard()
}
