package rpc

import (
	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

var objectTypes = map[string]gitalypb.ObjectType{ //nolint:gochecknoglobals // a constant
	"blob": gitalypb.ObjectType_BLOB, "tree": gitalypb.ObjectType_TREE, "commit": gitalypb.ObjectType_COMMIT, "tag": gitalypb.ObjectType_TAG,
}

// GetBlobs streams several blobs by revision and path, each beginning with a message
// that describes it; one that is not there has no oid.
func (s Blob) GetBlobs(req *gitalypb.GetBlobsRequest, stream gitalypb.BlobService_GetBlobsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if len(req.GetRevisionPaths()) == 0 {
		return invalid("empty RevisionPaths")
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	for _, rp := range req.GetRevisionPaths() {
		if err := sendBlob(objects, rp, req.GetLimit(), stream); err != nil {
			return err
		}
	}
	return nil
}

func sendBlob(objects *object.Reader, rp *gitalypb.GetBlobsRequest_RevisionPath, limit int64, stream gitalypb.BlobService_GetBlobsServer) error {
	head := &gitalypb.GetBlobsResponse{Revision: rp.GetRevision(), Path: rp.GetPath()}
	if err := ref.CheckRevision(rp.GetRevision()); err != nil {
		return err
	}
	clean, err := object.CleanPath(string(rp.GetPath()))
	if err != nil {
		return err
	}
	entry, err := findEntry(objects, rp.GetRevision(), clean)
	if errs.KindOf(err) == errs.NotFound {
		return stream.Send(head)
	}
	if err != nil {
		return err
	}
	head.Oid, head.Mode, head.Type = entry.OID, entry.Mode, objectTypes[entry.Type()]
	if entry.Type() == "commit" {
		head.IsSubmodule = true
		return stream.Send(head)
	}
	info, err := objects.Info(entry.OID)
	if err != nil {
		return err
	}
	head.Size = info.Size
	if err := stream.Send(head); err != nil || entry.Type() != "blob" {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetBlobsResponse{Data: b}) })
	return copyBlob(w, objects, info, limit)
}
