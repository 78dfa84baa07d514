package rpc

import (
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/snapshot"
)

// GetSnapshot streams the repository's files as a tar file.
func (s Repository) GetSnapshot(req *gitalypb.GetSnapshotRequest, stream gitalypb.RepositoryService_GetSnapshotServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetSnapshotResponse{Data: b}) })
	return snapshot.Write(stream.Context(), repo, w)
}
