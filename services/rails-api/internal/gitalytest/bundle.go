package gitalytest

import (
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// bundleHead begins what this server calls a bundle; the names of the branches follow.
const bundleHead = "# fake bundle\n"

// CreateBundle streams the branches, in small pieces; a repository without any has no bundle.
func (s *Server) CreateBundle(in *gitalypb.CreateBundleRequest, stream grpc.ServerStreamingServer[gitalypb.CreateBundleResponse]) error {
	s.Lock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		s.Unlock()
		return err
	}
	text := bundleHead + strings.Join(r.Branches, "\n")
	s.Unlock()
	if text == bundleHead { // which git finds out after it has begun
		if err := stream.Send(&gitalypb.CreateBundleResponse{Data: []byte(bundleHead)}); err != nil {
			return err
		}
		return status.Error(codes.FailedPrecondition, "refusing to create empty bundle")
	}
	for piece := range strings.SplitAfterSeq(text, "\n") {
		if err := stream.Send(&gitalypb.CreateBundleResponse{Data: []byte(piece)}); err != nil {
			return err
		}
	}
	return nil
}

// CreateRepositoryFromBundle makes a repository of what CreateBundle sent. Its HEAD is anything until it is set.
func (s *Server) CreateRepositoryFromBundle(stream grpc.ClientStreamingServer[gitalypb.CreateRepositoryFromBundleRequest, gitalypb.CreateRepositoryFromBundleResponse]) error {
	var path string
	text, err := collect(func() (interface{ GetData() []byte }, error) {
		in, err := stream.Recv()
		if in.GetRepository() != nil {
			path = in.GetRepository().GetRelativePath()
		}
		return in, err
	})
	branches, ok := strings.CutPrefix(text, bundleHead)
	if err != nil || !ok {
		return errors.Join(err, status.Error(codes.InvalidArgument, "this is no bundle"))
	}
	s.Lock()
	defer s.Unlock()
	if s.Fail != nil {
		return s.Fail
	}
	if s.Repositories[path] != nil {
		return status.Error(codes.AlreadyExists, "repository exists already")
	}
	s.Repositories[path] = &Repository{Branches: strings.Split(branches, "\n"), HEAD: "refs/heads/any"}
	return stream.SendAndClose(&gitalypb.CreateRepositoryFromBundleResponse{})
}

// GetCustomHooks streams what SetCustomHooks got; nothing if that was never called.
func (s *Server) GetCustomHooks(in *gitalypb.GetCustomHooksRequest, stream grpc.ServerStreamingServer[gitalypb.GetCustomHooksResponse]) error {
	s.Lock()
	r, err := s.find(in.GetRepository())
	if err != nil || r.Hooks == "" {
		s.Unlock()
		return err
	}
	text := r.Hooks
	s.Unlock()
	return stream.Send(&gitalypb.GetCustomHooksResponse{Data: []byte(text)})
}

// SetCustomHooks keeps what it gets.
func (s *Server) SetCustomHooks(stream grpc.ClientStreamingServer[gitalypb.SetCustomHooksRequest, gitalypb.SetCustomHooksResponse]) error {
	var repo *gitalypb.Repository
	text, err := collect(func() (interface{ GetData() []byte }, error) {
		in, err := stream.Recv()
		if in.GetRepository() != nil {
			repo = in.GetRepository()
		}
		return in, err
	})
	if err != nil {
		return err
	}
	s.Lock()
	defer s.Unlock()
	r, err := s.find(repo)
	if err != nil {
		return err
	}
	r.Hooks = text
	return stream.SendAndClose(&gitalypb.SetCustomHooksResponse{})
}

func collect(recv func() (interface{ GetData() []byte }, error)) (string, error) {
	var text strings.Builder
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err != nil {
			return "", err
		}
		text.Write(m.GetData())
	}
}
