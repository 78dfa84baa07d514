package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/attribute"
)

// GetFileAttributes reads the attributes of paths as a revision has them.
func (s Repository) GetFileAttributes(ctx context.Context, req *gitalypb.GetFileAttributesRequest) (*gitalypb.GetFileAttributesResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.GetRevision()) == 0:
		return nil, invalid("revision is required")
	case len(req.GetPaths()) == 0:
		return nil, invalid("file paths are required")
	case len(req.GetAttributes()) == 0:
		return nil, invalid("attributes are required")
	}
	resp := &gitalypb.GetFileAttributesResponse{}
	err = attribute.Check(ctx, s.Git, repo, string(req.GetRevision()), req.GetAttributes(), req.GetPaths(), func(i attribute.Info) {
		resp.AttributeInfos = append(resp.AttributeInfos, &gitalypb.GetFileAttributesResponse_AttributeInfo{
			Path: i.Path, Attribute: i.Name, Value: i.Value,
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}
