package repo

import (
	"context"
	"errors"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// BlobSize returns the size of a blob. What is absent, or no full id, is errs.NotFound.
func (r *Repo) BlobSize(ctx context.Context, id string) (int64, error) {
	if !fullID.MatchString(id) {
		return 0, errs.New(errs.NotFound, "no such blob")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := r.blobs.GetBlob(ctx, &gitalypb.GetBlobRequest{Repository: r.repository, Oid: id})
	if err != nil {
		return 0, remote(err)
	}
	head, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, remote(err)
	}
	if head.GetOid() == "" {
		return 0, errs.New(errs.NotFound, "no such blob")
	}
	return head.GetSize(), nil
}

// Blob returns the first limit bytes of a blob.
func (r *Repo) Blob(ctx context.Context, id string, limit int64) ([]byte, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := r.blobs.GetBlob(ctx, &gitalypb.GetBlobRequest{Repository: r.repository, Oid: id, Limit: limit})
	if err != nil {
		return nil, remote(err)
	}
	var data []byte
	err = receive(stream, func(msg *gitalypb.GetBlobResponse) { data = append(data, msg.GetData()...) })
	return data, err
}

// BlobAt returns the id of a file at a commit; what is no file is errs.NotFound.
func (r *Repo) BlobAt(ctx context.Context, commit, path string) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel() // ends the stream: the content is not wanted
	f, err := r.File(ctx, commit, path)
	if err != nil {
		return "", err
	}
	return f.ID, nil
}
