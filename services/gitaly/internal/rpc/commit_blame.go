package rpc

import (
	"errors"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
)

// RawBlame streams what git blame says of a file, or some of its lines.
func (s Commit) RawBlame(req *gitalypb.RawBlameRequest, stream gitalypb.CommitService_RawBlameServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if len(req.GetPath()) == 0 {
		return invalid("empty Path")
	}
	clean, err := object.CleanPath(string(req.GetPath()))
	if err != nil || req.GetPath()[0] == '/' {
		return invalid("path escapes repository root")
	}
	blame := commit.Blame{Revision: string(req.GetRevision()), Path: clean, Range: string(req.GetRange()), Ignore: string(req.GetIgnoreRevisionsBlob())}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.RawBlameResponse{Data: b}) })
	return blameError(blame.Write(ctx, s.Git, &repo.Repo, w), req)
}

// blameError adds the detail to what is wrong with a request.
func blameError(err error, req *gitalypb.RawBlameRequest) error {
	var detail gitalypb.RawBlameError
	var outside *commit.RangeError
	var format *commit.IgnoreFormatError
	code := codes.NotFound
	switch {
	case errors.Is(err, commit.ErrNoPath):
		detail.Error = &gitalypb.RawBlameError_PathNotFound{PathNotFound: &gitalypb.PathNotFoundError{Path: req.GetPath()}}
	case errors.As(err, &outside):
		code = codes.InvalidArgument
		detail.Error = &gitalypb.RawBlameError_OutOfRange{OutOfRange: &gitalypb.RawBlameError_OutOfRangeError{ActualLines: outside.Lines}}
	case errors.As(err, &format):
		detail.Error = &gitalypb.RawBlameError_InvalidIgnoreRevsFormat{
			InvalidIgnoreRevsFormat: &gitalypb.RawBlameError_InvalidIgnoreRevsFormatError{Content: []byte(format.Content)}}
	case errors.Is(err, commit.ErrNoIgnoreRevs), errors.Is(err, commit.ErrNotIgnoreRevs):
		if errors.Is(err, commit.ErrNotIgnoreRevs) {
			code = codes.InvalidArgument
		}
		detail.Error = &gitalypb.RawBlameError_ResolveIgnoreRevs{
			ResolveIgnoreRevs: &gitalypb.RawBlameError_ResolveIgnoreRevsError{IgnoreRevisionsBlob: req.GetIgnoreRevisionsBlob()}}
	default:
		return err
	}
	return detailed(code, errs.Message(err), &detail)
}
