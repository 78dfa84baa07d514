package app_test

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// fakeData answers the calls behind delegated answers with what a test sets.
type fakeData struct {
	gitalypb.UnimplementedBlobServiceServer
	gitalypb.UnimplementedDiffServiceServer
	gitalypb.UnimplementedRepositoryServiceServer
	gitaly *fakeGitaly
	// serve gets the request and sends the answer's bytes. Of a blob the first are
	// announced as its size.
	serve func(ctx context.Context, req proto.Message, send func(string) error) error
	size  int64 // of the blob; 0 is that there is none
}

type withRepository interface {
	proto.Message
	GetRepository() *gitalypb.Repository
}

func (f *fakeData) answer(ctx context.Context, method string, req withRepository, send func(string) error) error {
	f.gitaly.record(ctx, method, req.GetRepository(), "", nil, "")
	return f.serve(ctx, req, send)
}

func (f *fakeData) GetBlob(req *gitalypb.GetBlobRequest, s grpc.ServerStreamingServer[gitalypb.GetBlobResponse]) error {
	head := &gitalypb.GetBlobResponse{}
	if f.size > 0 {
		head = &gitalypb.GetBlobResponse{Oid: req.GetOid(), Size: f.size}
	}
	if err := s.Send(head); err != nil {
		return err
	}
	return f.answer(s.Context(), "GetBlob", req, func(b string) error { return s.Send(&gitalypb.GetBlobResponse{Data: []byte(b)}) })
}

func (f *fakeData) RawDiff(req *gitalypb.RawDiffRequest, s grpc.ServerStreamingServer[gitalypb.RawDiffResponse]) error {
	return f.answer(s.Context(), "RawDiff", req, func(b string) error { return s.Send(&gitalypb.RawDiffResponse{Data: []byte(b)}) })
}

func (f *fakeData) RawPatch(req *gitalypb.RawPatchRequest, s grpc.ServerStreamingServer[gitalypb.RawPatchResponse]) error {
	return f.answer(s.Context(), "RawPatch", req, func(b string) error { return s.Send(&gitalypb.RawPatchResponse{Data: []byte(b)}) })
}

func (f *fakeData) GetSnapshot(req *gitalypb.GetSnapshotRequest, s grpc.ServerStreamingServer[gitalypb.GetSnapshotResponse]) error {
	return f.answer(s.Context(), "GetSnapshot", req, func(b string) error { return s.Send(&gitalypb.GetSnapshotResponse{Data: []byte(b)}) })
}

func (f *fakeData) GetArchive(req *gitalypb.GetArchiveRequest, s grpc.ServerStreamingServer[gitalypb.GetArchiveResponse]) error {
	return f.answer(s.Context(), "GetArchive", req, func(b string) error { return s.Send(&gitalypb.GetArchiveResponse{Data: []byte(b)}) })
}
