package rpc

import (
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/bundle"
	"gitsplit/services/gitaly/internal/commit"
)

// CreateBundle streams all references and what they reach.
func (s Repository) CreateBundle(req *gitalypb.CreateBundleRequest, stream gitalypb.RepositoryService_CreateBundleServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.CreateBundleResponse{Data: b}) })
	return bundle.All(stream.Context(), s.Git, &repo.Repo, w)
}

// CreateBundleFromRefList streams chosen references and what they reach.
func (s Repository) CreateBundleFromRefList(stream gitalypb.RepositoryService_CreateBundleFromRefListServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.repository(stream.Context(), first.GetRepository())
	if err != nil {
		return err
	}
	in, err := revisions(first.GetPatterns(), func() (*gitalypb.Repository, [][]byte, error) {
		req, err := stream.Recv()
		return req.GetRepository(), req.GetPatterns(), err
	})
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error {
		return stream.Send(&gitalypb.CreateBundleFromRefListResponse{Data: b})
	})
	return bundle.Some(stream.Context(), s.Git, &repo.Repo, in, w)
}

// revisions is the list of a client stream, whose first message has been read.
func revisions(first [][]byte, recv func() (*gitalypb.Repository, [][]byte, error)) (*commit.Input, error) {
	begun := false
	return commit.NewInput(func() ([][]byte, error) {
		if !begun {
			begun = true
			return first, nil
		}
		repo, list, err := recv()
		if repo != nil {
			return nil, invalid("subsequent requests must not contain repository")
		}
		return list, err
	})
}
