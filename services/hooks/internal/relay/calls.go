package relay

import (
	"errors"
	"fmt"
	"io"

	"gitsplit/proto/go/gitalypb"
)

func (c *client) preReceive(s Streams) (int32, error) {
	stream, err := c.api.PreReceiveHook(c.ctx)
	if err != nil {
		return 1, err
	}
	first := &gitalypb.PreReceiveHookRequest{
		Repository: c.payload.Repository, EnvironmentVariables: c.environ, GitPushOptions: pushOptions(c.environ),
	}
	if err := ignoreEOF(stream.Send(first)); err != nil {
		return 1, err
	}
	err = send(s.Stdin, func(b []byte) error { return stream.Send(&gitalypb.PreReceiveHookRequest{Stdin: b}) }, stream.CloseSend)
	if err != nil {
		return 1, err
	}
	return receive(stream.Recv, s)
}

func (c *client) postReceive(s Streams) (int32, error) {
	stream, err := c.api.PostReceiveHook(c.ctx)
	if err != nil {
		return 1, err
	}
	first := &gitalypb.PostReceiveHookRequest{
		Repository: c.payload.Repository, EnvironmentVariables: c.environ, GitPushOptions: pushOptions(c.environ),
	}
	if err := ignoreEOF(stream.Send(first)); err != nil {
		return 1, err
	}
	err = send(s.Stdin, func(b []byte) error { return stream.Send(&gitalypb.PostReceiveHookRequest{Stdin: b}) }, stream.CloseSend)
	if err != nil {
		return 1, err
	}
	return receive(stream.Recv, s)
}

// ignoreEOF drops the sign that the RPC has ended early: receive learns why.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (c *client) update(args []string, s Streams) (int32, error) {
	if len(args) != 3 {
		return 1, fmt.Errorf("%w: update wants a reference and two object ids", errUsage)
	}
	stream, err := c.api.UpdateHook(c.ctx, &gitalypb.UpdateHookRequest{
		Repository: c.payload.Repository, EnvironmentVariables: c.environ,
		Ref: []byte(args[0]), OldValue: args[1], NewValue: args[2],
	})
	if err != nil {
		return 1, err
	}
	return receive(stream.Recv, s)
}

func (c *client) referenceTransaction(args []string, s Streams) (int32, error) {
	state, err := transactionState(args)
	if err != nil {
		return 1, err
	}
	stream, err := c.api.ReferenceTransactionHook(c.ctx)
	if err != nil {
		return 1, err
	}
	first := &gitalypb.ReferenceTransactionHookRequest{Repository: c.payload.Repository, EnvironmentVariables: c.environ, State: state}
	if err := ignoreEOF(stream.Send(first)); err != nil {
		return 1, err
	}
	err = send(s.Stdin, func(b []byte) error { return stream.Send(&gitalypb.ReferenceTransactionHookRequest{Stdin: b}) }, stream.CloseSend)
	if err != nil {
		return 1, err
	}
	return receive(stream.Recv, s)
}

func transactionState(args []string) (gitalypb.ReferenceTransactionHookRequest_State, error) {
	states := map[string]gitalypb.ReferenceTransactionHookRequest_State{
		"prepared":  gitalypb.ReferenceTransactionHookRequest_PREPARED,
		"committed": gitalypb.ReferenceTransactionHookRequest_COMMITTED,
		"aborted":   gitalypb.ReferenceTransactionHookRequest_ABORTED,
	}
	if len(args) == 1 {
		if state, ok := states[args[0]]; ok {
			return state, nil
		}
	}
	return 0, fmt.Errorf("%w: reference-transaction wants its state, got %q", errUsage, args)
}
