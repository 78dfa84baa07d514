package senddata

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"google.golang.org/grpc"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/gitaly"
)

// blobParams are the parameters of git-blob.
type blobParams struct {
	GitalyServer   gitaly.Server
	GetBlobRequest struct {
		Repository gitaly.Repository `json:"repository"`
		Oid        string            `json:"oid"`
		Limit      int64             `json:"limit"` // -1 is the whole blob
	}
}

// blob sends a blob: its size is known before its bytes.
func (s *Sender) blob(w http.ResponseWriter, r *http.Request, params string) error {
	var p blobParams
	if err := decode(params, &p); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream, err := call(ctx, s, p.GitalyServer, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[gitalypb.GetBlobResponse], error) {
		return gitalypb.NewBlobServiceClient(conn).GetBlob(ctx, &gitalypb.GetBlobRequest{
			Repository: p.GetBlobRequest.Repository.Proto(), Oid: p.GetBlobRequest.Oid, Limit: p.GetBlobRequest.Limit,
		})
	})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return unanswered(err)
	}
	if first.GetOid() == "" {
		return &refusal{http.StatusNotFound, "Not Found", fmt.Errorf("blob %q does not exist", p.GetBlobRequest.Oid)}
	}
	size := first.GetSize()
	if limit := p.GetBlobRequest.Limit; limit >= 0 {
		size = min(size, limit)
	}
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Del("Set-Cookie") // caches on the way may keep a blob
	if r.Method == http.MethodHead {
		return nil
	}
	return copyStream(w, first, stream)
}

// diff sends the text of git diff.
func (s *Sender) diff(w http.ResponseWriter, r *http.Request, params string) error {
	var p struct {
		GitalyServer   gitaly.Server
		RawDiffRequest string
	}
	var req gitalypb.RawDiffRequest
	if err := decode(params, &p); err != nil {
		return err
	}
	if err := message(p.RawDiffRequest, &req); err != nil {
		return err
	}
	return relay(s, w, r, p.GitalyServer, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[gitalypb.RawDiffResponse], error) {
		return gitalypb.NewDiffServiceClient(conn).RawDiff(ctx, &req)
	})
}

// patch sends the text of git format-patch.
func (s *Sender) patch(w http.ResponseWriter, r *http.Request, params string) error {
	var p struct {
		GitalyServer    gitaly.Server
		RawPatchRequest string
	}
	var req gitalypb.RawPatchRequest
	if err := decode(params, &p); err != nil {
		return err
	}
	if err := message(p.RawPatchRequest, &req); err != nil {
		return err
	}
	return relay(s, w, r, p.GitalyServer, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[gitalypb.RawPatchResponse], error) {
		return gitalypb.NewDiffServiceClient(conn).RawPatch(ctx, &req)
	})
}

// snapshot sends the files of a bare repository as a tar.
func (s *Sender) snapshot(w http.ResponseWriter, r *http.Request, params string) error {
	var p struct {
		GitalyServer       gitaly.Server
		GetSnapshotRequest string
	}
	var req gitalypb.GetSnapshotRequest
	if err := decode(params, &p); err != nil {
		return err
	}
	if err := message(p.GetSnapshotRequest, &req); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", `attachment; filename="snapshot.tar"`)
	h.Set("Content-Transfer-Encoding", "binary")
	h.Set("Cache-Control", "private")
	return relay(s, w, r, p.GitalyServer, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[gitalypb.GetSnapshotResponse], error) {
		return gitalypb.NewRepositoryServiceClient(conn).GetSnapshot(ctx, &req)
	})
}
