package gitalytest

import (
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// SetPushed says what the next push to a repository brings.
func (s *Server) SetPushed(path string, p Pushed) {
	s.Lock()
	defer s.Unlock()
	s.Repositories[path].Pushed = p
}

func (s *Server) pushed(r *gitalypb.Repository) (Pushed, error) {
	s.Lock()
	defer s.Unlock()
	found, err := s.find(r)
	if err != nil {
		return Pushed{}, err
	}
	return found.Pushed, nil
}

func pointer(oid string) []*gitalypb.LFSPointer {
	return []*gitalypb.LFSPointer{{FileOid: []byte(oid)}}
}

// ListAllLFSPointers tells what was pushed, one in each message. It takes the
// quarantine alone.
func (s *Server) ListAllLFSPointers(in *gitalypb.ListAllLFSPointersRequest, stream grpc.ServerStreamingServer[gitalypb.ListAllLFSPointersResponse]) error {
	p, err := s.pushed(in.GetRepository())
	if err != nil {
		return err
	}
	if in.GetRepository().GetGitObjectDirectory() == "" || len(in.GetRepository().GetGitAlternateObjectDirectories()) > 0 {
		return status.Error(codes.InvalidArgument, "the whole repository is asked for")
	}
	for _, oid := range p.Pointers {
		if err := stream.Send(&gitalypb.ListAllLFSPointersResponse{LfsPointers: pointer(oid)}); err != nil {
			return err
		}
	}
	return nil
}

// ListLFSPointers tells what was pushed, one in each message.
func (s *Server) ListLFSPointers(in *gitalypb.ListLFSPointersRequest, stream grpc.ServerStreamingServer[gitalypb.ListLFSPointersResponse]) error {
	p, err := s.pushed(in.GetRepository())
	if err != nil {
		return err
	}
	for _, oid := range p.Pointers {
		if err := stream.Send(&gitalypb.ListLFSPointersResponse{LfsPointers: pointer(oid)}); err != nil {
			return err
		}
	}
	return nil
}

// ListCommits tells the commits that were pushed, one in each message.
func (s *Server) ListCommits(in *gitalypb.ListCommitsRequest, stream grpc.ServerStreamingServer[gitalypb.ListCommitsResponse]) error {
	p, err := s.pushed(in.GetRepository())
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(p.Changes)) {
		if err := stream.Send(&gitalypb.ListCommitsResponse{Commits: []*gitalypb.GitCommit{{Id: id}}}); err != nil {
			return err
		}
	}
	return nil
}

// FindChangedPaths tells the paths of the commits asked for, one in each message.
func (s *Server) FindChangedPaths(in *gitalypb.FindChangedPathsRequest, stream grpc.ServerStreamingServer[gitalypb.FindChangedPathsResponse]) error {
	p, err := s.pushed(in.GetRepository())
	if err != nil {
		return err
	}
	for _, request := range in.GetRequests() {
		for _, path := range p.Changes[request.GetCommitRequest().GetCommitRevision()] {
			answer := &gitalypb.FindChangedPathsResponse{Paths: []*gitalypb.ChangedPaths{{Path: []byte(path)}}}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
	return nil
}
