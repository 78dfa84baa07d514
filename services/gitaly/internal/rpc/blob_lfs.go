package rpc

import (
	"context"
	"errors"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/lfs"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// GetLFSPointers streams those of the named blobs that are LFS pointers.
func (s Blob) GetLFSPointers(req *gitalypb.GetLFSPointersRequest, stream gitalypb.BlobService_GetLFSPointersServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if len(req.GetBlobIds()) == 0 {
		return invalid("empty BlobIds")
	}
	for _, oid := range req.GetBlobIds() {
		if !ref.ValidOID(oid) {
			return errs.Newf(errs.Invalid, "invalid blob id: %q", oid)
		}
	}
	send := func(p []*gitalypb.LFSPointer) error {
		return stream.Send(&gitalypb.GetLFSPointersResponse{LfsPointers: p})
	}
	return s.pointers(ctx, repo, 0, send, func(objects *object.Reader, each func(oid string) error) error {
		for _, oid := range req.GetBlobIds() {
			info, err := objects.Info(oid)
			if err == nil && info.Type == "blob" && info.Size <= lfs.MaxPointer {
				err = each(oid)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ListLFSPointers streams the LFS pointers that revisions reach.
func (s Blob) ListLFSPointers(req *gitalypb.ListLFSPointersRequest, stream gitalypb.BlobService_ListLFSPointersServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	in, err := walkInput(req.GetRevisions())
	if err != nil {
		return err
	}
	send := func(p []*gitalypb.LFSPointer) error {
		return stream.Send(&gitalypb.ListLFSPointersResponse{LfsPointers: p})
	}
	return s.pointers(ctx, repo, req.GetLimit(), send, func(_ *object.Reader, each func(oid string) error) error {
		return commit.Blobs(ctx, s.Git, &repo.Repo, in, lfs.MaxPointer, func(oid string, _ []byte) error { return each(oid) })
	})
}

// ListAllLFSPointers streams all LFS pointers that are there.
func (s Blob) ListAllLFSPointers(req *gitalypb.ListAllLFSPointersRequest, stream gitalypb.BlobService_ListAllLFSPointersServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	send := func(p []*gitalypb.LFSPointer) error {
		return stream.Send(&gitalypb.ListAllLFSPointersResponse{LfsPointers: p})
	}
	if news := s.Incoming.News(ctx, s.Git, &repo.Repo); news != nil {
		return sendPointers(news.Small, req.GetLimit(), send)
	}
	return s.pointers(ctx, repo, req.GetLimit(), send, func(_ *object.Reader, each func(oid string) error) error {
		return object.All(ctx, s.Git, &repo.Repo, func(info object.Info) error {
			if info.Type != "blob" || info.Size > lfs.MaxPointer {
				return nil
			}
			return each(info.OID)
		})
	})
}

// pointers looks at the small blobs that list names and sends those that are pointers,
// at most limit of them; 0 is all.
func (s Blob) pointers(
	ctx context.Context, repo *storage.Repo, limit int32, send func([]*gitalypb.LFSPointer) error,
	list func(objects *object.Reader, each func(oid string) error) error,
) error {
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := newPointerWriter(limit, send)
	err = list(objects, func(oid string) error {
		info, data, err := objects.Contents(oid, "blob")
		if err != nil {
			return err
		}
		return out.add(info.OID, data)
	})
	return out.end(err)
}

// sendPointers is pointers for blobs that have been read.
func sendPointers(blobs []object.Blob, limit int32, send func([]*gitalypb.LFSPointer) error) error {
	out := newPointerWriter(limit, send)
	for _, b := range blobs {
		err := out.add(b.OID, b.Data)
		if errors.Is(err, gitcmd.ErrStop) {
			break
		}
		if err != nil {
			return err
		}
	}
	return out.flush()
}

// pointerWriter sends those blobs that are pointers, at most left of them.
type pointerWriter struct {
	chunks[*gitalypb.LFSPointer]
	left countdown
}

func newPointerWriter(limit int32, send func([]*gitalypb.LFSPointer) error) *pointerWriter {
	return &pointerWriter{chunks[*gitalypb.LFSPointer]{send: send}, countdown(max(0, limit))}
}

func (w *pointerWriter) add(oid string, data []byte) error {
	p, ok := lfs.Parse(data)
	if !ok {
		return nil
	}
	return w.left.after(w.chunks.add(&gitalypb.LFSPointer{
		Size: int64(len(data)), Data: data, Oid: oid, FileSize: p.Size, FileOid: []byte(p.OID),
	}))
}
