package gitalytest

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// CreateFork makes a repository with the references of another, or with one branch.
func (s *Server) CreateFork(_ context.Context, in *gitalypb.CreateForkRequest) (*gitalypb.CreateForkResponse, error) {
	s.Lock()
	defer s.Unlock()
	source, err := s.find(in.GetSourceRepository())
	if err != nil {
		return nil, err
	}
	path := in.GetRepository().GetRelativePath()
	if err := s.FailAt[path]; err != nil {
		return nil, err
	}
	if s.Repositories[path] != nil {
		return nil, status.Error(codes.AlreadyExists, "repository exists already")
	}
	fork := &Repository{HEAD: source.HEAD, Branches: slices.Clone(source.Branches), OIDs: source.OIDs}
	if branch := string(in.GetRevision()); branch != "" {
		fork.HEAD, fork.Branches = branch, []string{branch}
	}
	s.Repositories[path] = fork
	return &gitalypb.CreateForkResponse{}, nil
}

// CreateObjectPool makes a pool, which is a repository like others here.
func (s *Server) CreateObjectPool(_ context.Context, in *gitalypb.CreateObjectPoolRequest) (*gitalypb.CreateObjectPoolResponse, error) {
	s.Lock()
	defer s.Unlock()
	if _, err := s.find(in.GetOrigin()); err != nil {
		return nil, err
	}
	path := in.GetObjectPool().GetRepository().GetRelativePath()
	if s.Repositories[path] != nil {
		return nil, status.Error(codes.FailedPrecondition, "creating object pool: repository exists already")
	}
	s.Repositories[path] = &Repository{}
	return &gitalypb.CreateObjectPoolResponse{}, nil
}

// LinkRepositoryToObjectPool notes the pool of a repository.
func (s *Server) LinkRepositoryToObjectPool(_ context.Context, in *gitalypb.LinkRepositoryToObjectPoolRequest) (*gitalypb.LinkRepositoryToObjectPoolResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	if _, err := s.find(in.GetObjectPool().GetRepository()); err != nil {
		return nil, err
	}
	r.Pool = in.GetObjectPool().GetRepository().GetRelativePath()
	return &gitalypb.LinkRepositoryToObjectPoolResponse{}, nil
}

// DeleteObjectPool removes a pool, also if members still need it.
func (s *Server) DeleteObjectPool(_ context.Context, in *gitalypb.DeleteObjectPoolRequest) (*gitalypb.DeleteObjectPoolResponse, error) {
	s.Lock()
	defer s.Unlock()
	if s.Fail != nil {
		return nil, s.Fail
	}
	delete(s.Repositories, in.GetObjectPool().GetRepository().GetRelativePath())
	return &gitalypb.DeleteObjectPoolResponse{}, nil
}
