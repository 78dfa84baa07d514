// Package gitalytest is a small storage server for tests: repositories are names
// in memory, and commits a line of ids of which each is the ancestor of the next.
package gitalytest

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"gitsplit/kit/backchannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/gitaly"
)

// Server is a fake gitaly. Set its fields under Lock once it serves.
type Server struct {
	gitalypb.UnimplementedRepositoryServiceServer
	gitalypb.UnimplementedRefServiceServer
	gitalypb.UnimplementedCommitServiceServer
	gitalypb.UnimplementedBlobServiceServer
	gitalypb.UnimplementedDiffServiceServer
	gitalypb.UnimplementedServerServiceServer
	gitalypb.UnimplementedObjectPoolServiceServer

	sync.Mutex
	Repositories map[string]*Repository // by relative path
	History      []string               // commit ids, oldest first; what is missing has no ancestors
	Fail         error                  // answer of every call, when set
	FailAt       map[string]error       // answers to what would make a fork at these paths
	Quarantines  []string               // object directories that came with ancestor questions
	Storage      string                 // its name
	Peers        Network                // the servers that this one copies from; set before use, as Replicating
	// Replicating is asked, after the source was read, whether a copy may be made; nil is yes.
	Replicating func(ctx context.Context) error

	grpc *grpc.Server
	addr string
	conn *grpc.ClientConn
}

// Repository is the state of one repository.
type Repository struct {
	HEAD     string            // full name
	Branches []string          // full names
	OIDs     map[string]string // where references point, by full name; tags stand here alone
	Size     int64             // KiB
	Commits  int32
	Pushed   Pushed
	Hooks    string // custom hooks, as they came
	Pool     string // relative path of what it borrows from
}

// Pushed is what the next push brings.
type Pushed struct {
	Pointers []string            // ids of files in LFS
	Changes  map[string][]string // paths by commit
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "gitalytest") // a test's TempDir may be too long for a socket
	if err != nil {
		tb.Fatalf("gitalytest: %v", err)
	}
	s := &Server{Storage: "default", Repositories: map[string]*Repository{}, grpc: grpc.NewServer(grpc.Creds(backchannel.ServerCredentials(insecure.NewCredentials()))), addr: filepath.Join(dir, "gitaly.sock")}
	gitalypb.RegisterRepositoryServiceServer(s.grpc, s)
	gitalypb.RegisterRefServiceServer(s.grpc, s)
	gitalypb.RegisterCommitServiceServer(s.grpc, s)
	gitalypb.RegisterBlobServiceServer(s.grpc, s)
	gitalypb.RegisterDiffServiceServer(s.grpc, s)
	gitalypb.RegisterServerServiceServer(s.grpc, s)
	gitalypb.RegisterObjectPoolServiceServer(s.grpc, s)
	grpc_health_v1.RegisterHealthServer(s.grpc, health.NewServer())
	ln, err := net.Listen("unix", s.addr) //nolint:noctx // a local socket
	if err != nil {
		tb.Fatalf("gitalytest: %v", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.grpc.Serve(ln)
	}()
	s.conn, err = grpc.NewClient("unix:"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatalf("gitalytest: %v", err)
	}
	tb.Cleanup(func() {
		_ = s.conn.Close()
		s.grpc.Stop()
		<-served
		_ = os.RemoveAll(dir)
	})
	return s
}

// Conn makes the server a gitaly.Pool of one connection.
func (s *Server) Conn(string, string) (*grpc.ClientConn, error) { return s.conn, nil }

// Client returns a client whose only storage, "default", is this server.
func (s *Server) Client(tb testing.TB) *gitaly.Client {
	tb.Helper()
	c, err := gitaly.New(s, []gitaly.Storage{{Name: "default", Address: "unix:" + s.addr, Token: "gitaly-token", Weight: 1}}, func(int) int { return 0 })
	if err != nil {
		tb.Fatalf("gitalytest: %v", err)
	}
	return c
}

// Stop ends the server, so that calls fail as with a server that is down.
func (s *Server) Stop() { s.grpc.Stop() }

// SetFail makes every call fail with an error, or none with nil.
func (s *Server) SetFail(err error) {
	s.Lock()
	defer s.Unlock()
	s.Fail = err
}

// Repository returns a copy of the state of a repository, nil when there is none.
func (s *Server) Repository(path string) *Repository {
	s.Lock()
	defer s.Unlock()
	r, ok := s.Repositories[path]
	if !ok {
		return nil
	}
	c := *r
	c.OIDs = maps.Clone(r.OIDs)
	return &c
}

// SetBranches says which branches a repository has.
func (s *Server) SetBranches(path string, full ...string) {
	s.Lock()
	defer s.Unlock()
	s.Repositories[path].Branches = full
}

func (s *Server) find(r *gitalypb.Repository) (*Repository, error) {
	if s.Fail != nil {
		return nil, s.Fail
	}
	found, ok := s.Repositories[r.GetRelativePath()]
	if !ok {
		return nil, status.Error(codes.NotFound, "repository does not exist")
	}
	return found, nil
}

// CreateRepository makes an empty repository.
func (s *Server) CreateRepository(_ context.Context, in *gitalypb.CreateRepositoryRequest) (*gitalypb.CreateRepositoryResponse, error) {
	s.Lock()
	defer s.Unlock()
	if s.Fail != nil {
		return nil, s.Fail
	}
	path := in.GetRepository().GetRelativePath()
	if s.Repositories[path] != nil {
		return nil, status.Error(codes.AlreadyExists, "repository exists already")
	}
	s.Repositories[path] = &Repository{HEAD: "refs/heads/" + string(in.GetDefaultBranch())}
	return &gitalypb.CreateRepositoryResponse{}, nil
}

// RemoveRepository removes a repository.
func (s *Server) RemoveRepository(_ context.Context, in *gitalypb.RemoveRepositoryRequest) (*gitalypb.RemoveRepositoryResponse, error) {
	s.Lock()
	defer s.Unlock()
	if _, err := s.find(in.GetRepository()); err != nil {
		return nil, err
	}
	delete(s.Repositories, in.GetRepository().GetRelativePath())
	return &gitalypb.RemoveRepositoryResponse{}, nil
}

// HasLocalBranches tells whether there is a branch.
func (s *Server) HasLocalBranches(_ context.Context, in *gitalypb.HasLocalBranchesRequest) (*gitalypb.HasLocalBranchesResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.HasLocalBranchesResponse{Value: len(r.Branches) > 0}, nil
}

// RepositorySize tells the size.
func (s *Server) RepositorySize(_ context.Context, in *gitalypb.RepositorySizeRequest) (*gitalypb.RepositorySizeResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.RepositorySizeResponse{Size: r.Size}, nil
}

// WriteRef moves HEAD.
func (s *Server) WriteRef(_ context.Context, in *gitalypb.WriteRefRequest) (*gitalypb.WriteRefResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	if string(in.GetRef()) != "HEAD" {
		return nil, status.Error(codes.InvalidArgument, "only HEAD")
	}
	r.HEAD = string(in.GetRevision())
	return &gitalypb.WriteRefResponse{}, nil
}

// FindDefaultBranchName tells HEAD.
func (s *Server) FindDefaultBranchName(_ context.Context, in *gitalypb.FindDefaultBranchNameRequest) (*gitalypb.FindDefaultBranchNameResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindDefaultBranchNameResponse{Name: []byte(r.HEAD)}, nil
}

// SetReferences says which references a repository has and where they point.
func (s *Server) SetReferences(path string, oids map[string]string) {
	s.Lock()
	defer s.Unlock()
	s.Repositories[path].OIDs, s.Repositories[path].Branches = maps.Clone(oids), nil
	for _, name := range slices.Sorted(maps.Keys(oids)) {
		if strings.HasPrefix(name, "refs/heads/") {
			s.Repositories[path].Branches = append(s.Repositories[path].Branches, name)
		}
	}
}

// ListRefs tells the references below the patterns, one in each message.
func (s *Server) ListRefs(in *gitalypb.ListRefsRequest, stream grpc.ServerStreamingServer[gitalypb.ListRefsResponse]) error {
	s.Lock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		s.Unlock()
		return err
	}
	oids := maps.Clone(r.OIDs)
	names := slices.Sorted(maps.Keys(oids))
	if oids == nil {
		names = slices.Clone(r.Branches)
	}
	s.Unlock()
	for _, name := range names {
		wanted := slices.ContainsFunc(in.GetPatterns(), func(p []byte) bool { return strings.HasPrefix(name, string(p)) })
		item := &gitalypb.ListRefsResponse_Reference{Name: []byte(name), Target: oids[name]}
		if wanted && stream.Send(&gitalypb.ListRefsResponse{References: []*gitalypb.ListRefsResponse_Reference{item}}) != nil {
			return stream.Context().Err()
		}
	}
	return nil
}

// CountCommits tells the length of the history.
func (s *Server) CountCommits(_ context.Context, in *gitalypb.CountCommitsRequest) (*gitalypb.CountCommitsResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.CountCommitsResponse{Count: r.Commits}, nil
}

// CommitIsAncestor compares places in History.
func (s *Server) CommitIsAncestor(_ context.Context, in *gitalypb.CommitIsAncestorRequest) (*gitalypb.CommitIsAncestorResponse, error) {
	s.Lock()
	defer s.Unlock()
	if _, err := s.find(in.GetRepository()); err != nil {
		return nil, err
	}
	s.Quarantines = append(s.Quarantines, in.GetRepository().GetGitObjectDirectory())
	ancestor, child := slices.Index(s.History, in.GetAncestorId()), slices.Index(s.History, in.GetChildId())
	return &gitalypb.CommitIsAncestorResponse{Value: ancestor >= 0 && ancestor <= child}, nil
}
