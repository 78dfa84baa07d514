package rpc

import (
	"gitsplit/proto/go/gitalypb"
)

// ReferenceTransactionHook is told of each step of a ref transaction (wire/gitaly.md
// §6.5). Without a Praefect there is nobody to vote with.
func (h Hooks) ReferenceTransactionHook(stream gitalypb.HookService_ReferenceTransactionHookServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx := stream.Context()
	call, err := h.hookCall(ctx, first.GetRepository(), first.GetEnvironmentVariables())
	if err != nil {
		return err
	}
	_, err = readAll(func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetStdin(), err
	})
	if err != nil {
		return err
	}
	if err := h.Hooks.ReferenceTransaction(ctx, call); err != nil {
		return err
	}
	return stream.Send(&gitalypb.ReferenceTransactionHookResponse{ExitStatus: &gitalypb.ExitStatus{}})
}
