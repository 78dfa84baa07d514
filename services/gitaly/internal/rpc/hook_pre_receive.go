package rpc

import (
	"sync"

	"gitsplit/proto/go/gitalypb"
)

// PreReceiveHook decides whether a push may go on (wire/gitaly.md §6.4, §6.5).
func (h Hooks) PreReceiveHook(stream gitalypb.HookService_PreReceiveHookServer) error {
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
	stdout := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.PreReceiveHookResponse{Stdout: b}) })
	stderr := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.PreReceiveHookResponse{Stderr: b}) })
	err = h.Hooks.PreReceive(ctx, call, stdout, stderr)
	h.Packs.Judged(ctx, call.ID)
	if err == nil {
		err = h.Packs.Accept(call.ID)
	}
	exit, err := ending(err)
	if err != nil {
		return err
	}
	return stream.Send(&gitalypb.PreReceiveHookResponse{
		Stderr: []byte(exit.Stderr), ExitStatus: &gitalypb.ExitStatus{Value: exit.Code},
	})
}
