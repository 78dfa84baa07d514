package rpc

import (
	"io"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
)

// ListBlobs streams the blobs that revisions reach.
func (s Blob) ListBlobs(req *gitalypb.ListBlobsRequest, stream gitalypb.BlobService_ListBlobsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	in, err := walkInput(req.GetRevisions())
	if err != nil {
		return err
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.ListBlobsResponse_Blob]{send: func(b []*gitalypb.ListBlobsResponse_Blob) error {
		return stream.Send(&gitalypb.ListBlobsResponse{Blobs: b})
	}}
	left := countdown(req.GetLimit())
	err = commit.Blobs(ctx, s.Git, &repo.Repo, in, -1, func(oid string, path []byte) error {
		if !req.GetWithPaths() {
			path = nil
		}
		err := eachPiece(objects, oid, req.GetBytesLimit(), func(oid string, size int64, data []byte) error {
			return out.add(&gitalypb.ListBlobsResponse_Blob{Oid: oid, Size: size, Data: data, Path: append([]byte(nil), path...)})
		})
		return left.after(err)
	})
	return out.end(err)
}

// ListAllBlobs streams all blobs that are there.
func (s Blob) ListAllBlobs(req *gitalypb.ListAllBlobsRequest, stream gitalypb.BlobService_ListAllBlobsServer) error {
	ctx := stream.Context()
	repo, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.ListAllBlobsResponse_Blob]{send: func(b []*gitalypb.ListAllBlobsResponse_Blob) error {
		return stream.Send(&gitalypb.ListAllBlobsResponse{Blobs: b})
	}}
	left := countdown(req.GetLimit())
	err = object.All(ctx, s.Git, &repo.Repo, func(info object.Info) error {
		switch {
		case info.Type != "blob":
			return nil
		case req.GetBytesLimit() == 0:
			return left.after(out.add(&gitalypb.ListAllBlobsResponse_Blob{Oid: info.OID, Size: info.Size}))
		}
		err := eachPiece(objects, info.OID, req.GetBytesLimit(), func(oid string, size int64, data []byte) error {
			return out.add(&gitalypb.ListAllBlobsResponse_Blob{Oid: oid, Size: size, Data: data})
		})
		return left.after(err)
	})
	return out.end(err)
}

// walkInput reads the revisions of a walk that came in one piece.
func walkInput(revisions []string) (*commit.Input, error) {
	if len(revisions) == 0 {
		return nil, invalid("missing revisions")
	}
	piece := make([][]byte, 0, len(revisions))
	for _, r := range revisions {
		piece = append(piece, []byte(r))
	}
	return commit.NewInput(func() ([][]byte, error) {
		if piece == nil {
			return nil, io.EOF
		}
		first := piece
		piece = nil
		return first, nil
	})
}

// countdown ends a listing after so many items; 0 does not.
type countdown uint32

// after counts an item, if it went well.
func (c *countdown) after(err error) error {
	if err != nil || *c == 0 {
		return err
	}
	if *c--; *c == 0 {
		return gitcmd.ErrStop
	}
	return nil
}

// eachPiece passes on the first bytes of a blob, all of them for a negative limit, in
// pieces that fit into messages. Only the first piece has id and size.
func eachPiece(objects *object.Reader, oid string, limit int64, add func(oid string, size int64, data []byte) error) error {
	if limit == 0 {
		info, err := objects.Info(oid)
		if err != nil {
			return err
		}
		return add(info.OID, info.Size, nil)
	}
	info, rd, err := objects.Stream(oid)
	if err != nil {
		return err
	}
	if limit < 0 {
		limit = info.Size
	}
	size := info.Size
	for left := min(limit, info.Size); left > 0 || oid != ""; {
		piece := make([]byte, min(left, streamio.MaxChunk))
		if _, err := io.ReadFull(rd, piece); err != nil {
			return err
		}
		if err := add(oid, size, piece); err != nil {
			return err
		}
		left -= int64(len(piece))
		oid, size = "", 0
	}
	return objects.Discard()
}
