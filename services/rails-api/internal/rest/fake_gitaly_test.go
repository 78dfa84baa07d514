package rest_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
)

// fakeGitaly answers for repositories that are a few maps. It knows no history but a straight one and no trees but lists of files.
type fakeGitaly struct {
	gitalypb.UnimplementedRepositoryServiceServer
	gitalypb.UnimplementedRefServiceServer
	gitalypb.UnimplementedCommitServiceServer
	gitalypb.UnimplementedOperationServiceServer
	gitalypb.UnimplementedBlobServiceServer
	gitalypb.UnimplementedDiffServiceServer

	conn *grpc.ClientConn

	mu    sync.Mutex
	repos map[string]*fakeRepo // by relative path
	hook  error                // what the hooks answer to a change
}

type fakeRepo struct {
	head  string
	refs  map[string]string   // full name → commit
	log   []string            // newest first
	files map[string]fakeFile // the same at every commit
}

type fakeFile struct {
	content string
	mode    int32
}

func newFakeGitaly(tb testing.TB) *fakeGitaly {
	tb.Helper()
	f := &fakeGitaly{repos: make(map[string]*fakeRepo)}
	ln := bufconn.Listen(1 << 20)
	srv := grpc.NewServer()
	gitalypb.RegisterRepositoryServiceServer(srv, f)
	gitalypb.RegisterRefServiceServer(srv, f)
	gitalypb.RegisterCommitServiceServer(srv, f)
	gitalypb.RegisterOperationServiceServer(srv, f)
	gitalypb.RegisterBlobServiceServer(srv, f)
	gitalypb.RegisterDiffServiceServer(srv, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	conn, err := grpc.NewClient("passthrough:///fake", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	f.conn = conn
	tb.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		wg.Wait()
	})
	return f
}

// Conn makes the fake a pool of connections to itself.
func (f *fakeGitaly) Conn(_, _ string) (*grpc.ClientConn, error) { return f.conn, nil }

// fill gives a repository a history on main, n branches more, a tag and files.
func (f *fakeGitaly) fill(relativePath string, commits, branches int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo := f.repos[relativePath]
	for i := range commits {
		repo.log = append(repo.log, commitID(commits-i))
	}
	repo.refs["refs/heads/main"] = repo.log[0]
	for i := range branches {
		repo.refs[fmt.Sprintf("refs/heads/feat/%03d", i)] = repo.log[0]
	}
	repo.refs["refs/tags/v1"] = repo.log[len(repo.log)-1]
	repo.files = map[string]fakeFile{
		"README.md":      {"# hi\n", 0o100644},
		"bin/run":        {"#!/bin/sh\n", 0o100755},
		"lib/deep/a.txt": {strings.Repeat("x", 300_000), 0o100644},
	}
}

func commitID(n int) string { return fmt.Sprintf("%040x", n) }

func (f *fakeGitaly) repo(r *gitalypb.Repository) (*fakeRepo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if repo, ok := f.repos[r.GetRelativePath()]; ok {
		return repo, nil
	}
	return nil, status.Error(codes.NotFound, "repository does not exist")
}

func (r *fakeRepo) resolve(revision string) string {
	if id, ok := r.refs[revision]; ok {
		return id
	}
	for _, id := range r.log {
		if len(revision) >= 7 && strings.HasPrefix(id, revision) {
			return id
		}
	}
	return ""
}

func (r *fakeRepo) commit(id string) *gitalypb.GitCommit {
	who := &gitalypb.CommitAuthor{
		Name: []byte("Ann"), Email: []byte("ann@example.org"), Date: &timestamppb.Timestamp{Seconds: 1_700_000_000}, Timezone: []byte("+0530"),
	}
	c := &gitalypb.GitCommit{Id: id, Subject: []byte("subject " + id[36:]), Body: []byte("subject " + id[36:] + "\n\nbody\n"), Author: who, Committer: who}
	if i := slices.Index(r.log, id); i >= 0 && i+1 < len(r.log) {
		c.ParentIds = []string{r.log[i+1]}
	}
	return c
}

func (f *fakeGitaly) CreateRepository(_ context.Context, in *gitalypb.CreateRepositoryRequest) (*gitalypb.CreateRepositoryResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repos[in.GetRepository().GetRelativePath()] = &fakeRepo{head: string(in.GetDefaultBranch()), refs: map[string]string{}}
	return &gitalypb.CreateRepositoryResponse{}, nil
}

func (f *fakeGitaly) RemoveRepository(_ context.Context, in *gitalypb.RemoveRepositoryRequest) (*gitalypb.RemoveRepositoryResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.repos, in.GetRepository().GetRelativePath())
	return &gitalypb.RemoveRepositoryResponse{}, nil
}

func (f *fakeGitaly) HasLocalBranches(_ context.Context, in *gitalypb.HasLocalBranchesRequest) (*gitalypb.HasLocalBranchesResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.HasLocalBranchesResponse{Value: len(repo.refs) > 0}, nil
}

func (f *fakeGitaly) WriteRef(_ context.Context, in *gitalypb.WriteRefRequest) (*gitalypb.WriteRefResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	repo.head = strings.TrimPrefix(string(in.GetRevision()), "refs/heads/")
	return &gitalypb.WriteRefResponse{}, nil
}

func (f *fakeGitaly) ListRefs(in *gitalypb.ListRefsRequest, out grpc.ServerStreamingServer[gitalypb.ListRefsResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	var names []string
	for name := range repo.refs {
		if strings.HasPrefix(name, string(in.GetPatterns()[0])) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names { // one by one, so that pages span messages
		ref := &gitalypb.ListRefsResponse_Reference{Name: []byte(name), Target: repo.refs[name]}
		if err := out.Send(&gitalypb.ListRefsResponse{References: []*gitalypb.ListRefsResponse_Reference{ref}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeGitaly) FindCommit(_ context.Context, in *gitalypb.FindCommitRequest) (*gitalypb.FindCommitResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	id := repo.resolve(string(in.GetRevision()))
	if id == "" {
		return &gitalypb.FindCommitResponse{}, nil
	}
	return &gitalypb.FindCommitResponse{Commit: repo.commit(id)}, nil
}

func (f *fakeGitaly) ListCommits(in *gitalypb.ListCommitsRequest, out grpc.ServerStreamingServer[gitalypb.ListCommitsResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	from := max(slices.Index(repo.log, in.GetRevisions()[0]), 0) + int(in.GetSkip())
	if len(in.GetPaths()) > 0 {
		from = len(repo.log) - 1 // every file is as old as the repository
	}
	for _, id := range repo.log[min(from, len(repo.log)):min(from+int(in.GetPaginationParams().GetLimit()), len(repo.log))] {
		if err := out.Send(&gitalypb.ListCommitsResponse{Commits: []*gitalypb.GitCommit{repo.commit(id)}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeGitaly) ListCommitsByOid(in *gitalypb.ListCommitsByOidRequest, out grpc.ServerStreamingServer[gitalypb.ListCommitsByOidResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	answer := &gitalypb.ListCommitsByOidResponse{}
	for _, id := range in.GetOid() {
		answer.Commits = append(answer.Commits, repo.commit(id))
	}
	return out.Send(answer)
}

func (f *fakeGitaly) LastCommitForPath(_ context.Context, in *gitalypb.LastCommitForPathRequest) (*gitalypb.LastCommitForPathResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	return &gitalypb.LastCommitForPathResponse{Commit: repo.commit(repo.log[len(repo.log)-1])}, nil // every file is as old as the repository
}

func (f *fakeGitaly) GetTreeEntries(in *gitalypb.GetTreeEntriesRequest, out grpc.ServerStreamingServer[gitalypb.GetTreeEntriesResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	entries := repo.tree(string(in.GetPath()), in.GetRecursive())
	answer := &gitalypb.GetTreeEntriesResponse{}
	if p := in.GetPaginationParams(); p != nil {
		if i := slices.IndexFunc(entries, func(e *gitalypb.TreeEntry) bool { return "After "+string(e.GetPath()) == p.GetPageToken() }); i >= 0 {
			entries = entries[i+1:]
		}
		if len(entries) > int(p.GetLimit()) {
			entries = entries[:p.GetLimit()]
			answer.PaginationCursor = &gitalypb.PaginationCursor{NextCursor: "After " + string(entries[len(entries)-1].GetPath())}
		}
	}
	answer.Entries = entries
	return out.Send(answer)
}

func (r *fakeRepo) tree(dir string, recursive bool) []*gitalypb.TreeEntry {
	prefix := strings.TrimPrefix(dir+"/", "./")
	found := map[string]*gitalypb.TreeEntry{}
	for name, file := range r.files {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		for at := path.Dir(rest); at != "."; at = path.Dir(at) {
			if recursive || path.Dir(at) == "." {
				found[at] = &gitalypb.TreeEntry{Path: []byte(prefix + at), Type: gitalypb.TreeEntry_TREE, Mode: 0o40000}
			}
		}
		if recursive || path.Dir(rest) == "." {
			found[rest] = &gitalypb.TreeEntry{Path: []byte(prefix + rest), Mode: file.mode}
		}
	}
	var entries []*gitalypb.TreeEntry
	for _, e := range found {
		e.Oid = fmt.Sprintf("%040x", len(e.GetPath()))
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *gitalypb.TreeEntry) int { return strings.Compare(string(a.GetPath()), string(b.GetPath())) })
	return entries
}

func (f *fakeGitaly) TreeEntry(in *gitalypb.TreeEntryRequest, out grpc.ServerStreamingServer[gitalypb.TreeEntryResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	file, ok := repo.files[string(in.GetPath())]
	if !ok {
		if len(repo.tree(string(in.GetPath()), false)) > 0 {
			return out.Send(&gitalypb.TreeEntryResponse{Type: gitalypb.TreeEntryResponse_TREE, Oid: commitID(9)})
		}
		return status.Error(codes.NotFound, "tree entry not found")
	}
	head := &gitalypb.TreeEntryResponse{Type: gitalypb.TreeEntryResponse_BLOB, Oid: commitID(7), Size: int64(len(file.content)), Mode: file.mode}
	for chunk := range slices.Chunk([]byte(file.content), 100_000) {
		head.Data = chunk
		if err := out.Send(head); err != nil {
			return err
		}
		head = &gitalypb.TreeEntryResponse{}
	}
	return nil
}

func (f *fakeGitaly) CommitStats(_ context.Context, in *gitalypb.CommitStatsRequest) (*gitalypb.CommitStatsResponse, error) {
	return &gitalypb.CommitStatsResponse{Oid: string(in.GetRevision()), Additions: 3, Deletions: 1}, nil
}

func (f *fakeGitaly) UserCreateBranch(_ context.Context, in *gitalypb.UserCreateBranchRequest) (*gitalypb.UserCreateBranchResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hook != nil {
		return nil, f.hook
	}
	repo.refs["refs/heads/"+string(in.GetBranchName())] = string(in.GetStartPoint())
	return &gitalypb.UserCreateBranchResponse{}, nil
}

func (f *fakeGitaly) UserDeleteBranch(_ context.Context, in *gitalypb.UserDeleteBranchRequest) (*gitalypb.UserDeleteBranchResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hook != nil {
		return nil, f.hook
	}
	delete(repo.refs, "refs/heads/"+string(in.GetBranchName()))
	return &gitalypb.UserDeleteBranchResponse{}, nil
}

func (f *fakeGitaly) CreateFork(_ context.Context, in *gitalypb.CreateForkRequest) (*gitalypb.CreateForkResponse, error) {
	source, err := f.repo(in.GetSourceRepository())
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repos[in.GetRepository().GetRelativePath()] = &fakeRepo{head: source.head, refs: maps.Clone(source.refs), log: source.log, files: source.files}
	return &gitalypb.CreateForkResponse{}, nil
}
