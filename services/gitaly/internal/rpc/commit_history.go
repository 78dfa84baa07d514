package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// FindAllCommits streams the history of a revision, or of all branches.
func (s Commit) FindAllCommits(req *gitalypb.FindAllCommitsRequest, stream gitalypb.CommitService_FindAllCommitsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	w := commit.Walk{Revisions: []string{"--branches"}}
	if len(req.GetRevision()) > 0 {
		w.Revisions = []string{string(req.GetRevision())}
		if err := ref.CheckRevision(w.Revisions[0]); err != nil { // no words like --all
			return err
		}
	}
	w.Limit(int(req.GetMaxCount()))
	w.Skip(int(req.GetSkip()))
	w.If(req.GetOrder() == gitalypb.FindAllCommitsRequest_TOPO, "--topo-order")
	w.If(req.GetOrder() == gitalypb.FindAllCommitsRequest_DATE, "--date-order")
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.FindAllCommitsResponse{Commits: c})
	}}
	return out.end(commit.List(ctx, s.Git, &repo.Repo, w, out.add))
}

// CommitsByMessage streams the commits whose messages match a pattern, whatever the
// case of its letters.
func (s Commit) CommitsByMessage(req *gitalypb.CommitsByMessageRequest, stream gitalypb.CommitService_CommitsByMessageServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if req.GetQuery() == "" {
		return invalid("empty Query")
	}
	revision := string(req.GetRevision())
	if revision == "" {
		if revision, err = ref.Default(ctx, s.Git, &repo.Repo); err != nil || revision == "" {
			return err
		}
	}
	if err := ref.CheckRevision(revision); err != nil {
		return err
	}
	w := commit.Walk{Revisions: []string{revision}}
	if len(req.GetPath()) > 0 {
		w.Paths = []string{string(req.GetPath())}
	}
	w.Limit(int(req.GetLimit()))
	w.Skip(int(req.GetOffset()))
	w.If(true, "--grep="+req.GetQuery())
	w.If(true, "--regexp-ignore-case")
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.CommitsByMessageResponse{Commits: c})
	}}
	return out.end(commit.List(ctx, s.Git, &repo.Repo, w, out.add))
}

// ListCommitsByOid streams the commits with some ids, without those that are not
// there.
func (s Commit) ListCommitsByOid(req *gitalypb.ListCommitsByOidRequest, stream gitalypb.CommitService_ListCommitsByOidServer) error {
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.ListCommitsByOidResponse{Commits: c})
	}}
	return out.end(s.named(stream.Context(), req.GetRepository(), req.GetOid(), func(_ string, c *gitalypb.GitCommit) error { return out.add(c) }))
}

// ListCommitsByRefName streams the commits that references lead to, without those that
// are not there.
func (s Commit) ListCommitsByRefName(req *gitalypb.ListCommitsByRefNameRequest, stream gitalypb.CommitService_ListCommitsByRefNameServer) error {
	out := chunks[*gitalypb.ListCommitsByRefNameResponse_CommitForRef]{send: func(c []*gitalypb.ListCommitsByRefNameResponse_CommitForRef) error {
		return stream.Send(&gitalypb.ListCommitsByRefNameResponse{CommitRefs: c})
	}}
	err := s.named(stream.Context(), req.GetRepository(), texts(req.GetRefNames()), func(name string, c *gitalypb.GitCommit) error {
		return out.add(&gitalypb.ListCommitsByRefNameResponse_CommitForRef{Commit: c, RefName: []byte(name)})
	})
	return out.end(err)
}

// named calls each with the commits that the revisions lead to, if there are such.
func (s Commit) named(ctx context.Context, msg *gitalypb.Repository, revisions []string, each func(string, *gitalypb.GitCommit) error) error {
	repo, err := s.repository(ctx, msg)
	if err != nil {
		return err
	}
	for _, r := range revisions {
		if err := ref.CheckRevision(r); err != nil {
			return err
		}
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	for _, r := range revisions {
		c, err := commit.Read(objects, r)
		if errs.KindOf(err) == errs.NotFound {
			continue
		}
		if err == nil {
			err = each(r, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
