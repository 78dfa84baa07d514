package rpc

import (
	"sync"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/pack"
)

// PostReceivePack serves a push over HTTP (wire/gitaly.md §5.8).
func (s SmartHTTP) PostReceivePack(stream gitalypb.SmartHTTPService_PostReceivePackServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if first.Data != nil {
		return invalid("non-empty Data")
	}
	repo, push, err := s.beginPush(ctx, first, "http")
	if err != nil {
		return err
	}
	var t transfer
	defer t.note(ctx)
	var mu sync.Mutex
	err = s.Packs.ReceivePack(ctx, repo, push, pack.Streams{
		Stdin:  t.reader(streamio.NewReceiver(stream, first, "data")),
		Stdout: t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.PostReceivePackResponse{Data: b}) }),
	})
	return httpFailed(err, "waiting for receive-pack")
}
