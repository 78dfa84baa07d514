package rpc

import (
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/customhook"
)

// SetCustomHooks replaces the custom hooks by those of a tar file.
func (s Repository) SetCustomHooks(stream gitalypb.RepositoryService_SetCustomHooksServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.standing(stream.Context(), first.GetRepository())
	if err != nil {
		return err
	}
	begun := false
	r := streamio.NewReader(func() ([]byte, error) {
		if !begun {
			begun = true
			return first.GetData(), nil
		}
		req, err := stream.Recv()
		if req.GetRepository() != nil {
			return nil, invalid("subsequent requests must not contain repository")
		}
		return req.GetData(), err
	})
	if err := customhook.Set(repo, r); err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.SetCustomHooksResponse{})
}

// GetCustomHooks streams the custom hooks as a tar file; without any there is no message.
func (s Repository) GetCustomHooks(req *gitalypb.GetCustomHooksRequest, stream gitalypb.RepositoryService_GetCustomHooksServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetCustomHooksResponse{Data: b}) })
	return customhook.Get(stream.Context(), repo, w)
}
