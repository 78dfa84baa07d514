package rpc

import (
	"errors"
	"sync"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/pack"
)

// SSHUploadArchive serves git archive --remote (wire/gitaly.md §5.5). The exit
// status is always sent.
func (s SSH) SSHUploadArchive(stream gitalypb.SSHService_SSHUploadArchiveServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if first.Stdin != nil {
		return invalid("non-empty data in first request")
	}
	repo, err := s.repository(ctx, first.GetRepository())
	if err != nil {
		return err
	}
	var t transfer
	defer t.note(ctx)
	var mu sync.Mutex
	err = s.Packs.UploadArchive(ctx, repo, pack.Streams{
		Stdin:  t.reader(streamio.NewReceiver(stream, first, "stdin")),
		Stdout: t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.SSHUploadArchiveResponse{Stdout: b}) }),
		Stderr: t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.SSHUploadArchiveResponse{Stderr: b}) }),
	})
	code, ok := exited(err)
	if err != nil && !ok {
		return err
	}
	sendErr := stream.Send(&gitalypb.SSHUploadArchiveResponse{ExitStatus: &gitalypb.ExitStatus{Value: code}})
	return errors.Join(commandFailed(err), sendErr)
}
