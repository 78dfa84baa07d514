package rpc

import (
	"sync"

	"gitsplit/proto/go/gitalypb"
)

// UpdateHook runs the custom update hooks of one ref (wire/gitaly.md §6.5).
func (h Hooks) UpdateHook(req *gitalypb.UpdateHookRequest, stream gitalypb.HookService_UpdateHookServer) error {
	ctx := stream.Context()
	call, err := h.hookCall(ctx, req.GetRepository(), req.GetEnvironmentVariables())
	if err != nil {
		return err
	}
	var mu sync.Mutex
	stdout := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.UpdateHookResponse{Stdout: b}) })
	stderr := output(&mu, func(b []byte) error { return stream.Send(&gitalypb.UpdateHookResponse{Stderr: b}) })
	exit, err := ending(h.Hooks.Update(ctx, call, string(req.GetRef()), req.GetOldValue(), req.GetNewValue(), stdout, stderr))
	if err != nil {
		return err
	}
	return stream.Send(&gitalypb.UpdateHookResponse{
		Stderr: []byte(exit.Stderr), ExitStatus: &gitalypb.ExitStatus{Value: exit.Code},
	})
}
