package rpc

import (
	"errors"
	"sync"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/pack"
)

// SSHReceivePack serves a push over SSH (wire/gitaly.md §5.4). A refused push ends
// well: git has told the client.
func (s SSH) SSHReceivePack(stream gitalypb.SSHService_SSHReceivePackServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if first.Stdin != nil {
		return invalid("non-empty data in first request")
	}
	repo, push, err := s.beginPush(ctx, first, "ssh")
	if err != nil {
		return err
	}
	var t transfer
	defer t.note(ctx)
	var mu sync.Mutex
	err = s.Packs.ReceivePack(ctx, repo, push, pack.Streams{
		Stdin:  t.reader(streamio.NewReceiver(stream, first, "stdin")),
		Stdout: t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.SSHReceivePackResponse{Stdout: b}) }),
		Stderr: t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.SSHReceivePackResponse{Stderr: b}) }),
	})
	code, ok := exited(err)
	if !ok {
		return err
	}
	sendErr := stream.Send(&gitalypb.SSHReceivePackResponse{ExitStatus: &gitalypb.ExitStatus{Value: code}})
	if pack.ClientLeft(err) {
		return errs.Wrap(errs.Canceled, "user canceled the push", err)
	}
	return errors.Join(commandFailed(err), sendErr)
}
