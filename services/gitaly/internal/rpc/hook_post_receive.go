package rpc

import (
	"sync"

	"gitsplit/proto/go/gitalypb"
)

// PostReceiveHook reports the refs that a push has moved (wire/gitaly.md §6.5).
func (h Hooks) PostReceiveHook(stream gitalypb.HookService_PostReceiveHookServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx := stream.Context()
	call, err := h.pushCall(ctx, first, func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetStdin(), err
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	stdout := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.PostReceiveHookResponse{Stdout: b}) })
	stderr := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.PostReceiveHookResponse{Stderr: b}) })
	exit, err := ending(h.Hooks.PostReceive(ctx, call, stdout, stderr))
	if err != nil {
		return err
	}
	return stream.Send(&gitalypb.PostReceiveHookResponse{
		Stderr: []byte(exit.Stderr), ExitStatus: &gitalypb.ExitStatus{Value: exit.Code},
	})
}
