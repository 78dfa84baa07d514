package rpc

import (
	"strconv"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

// ListCommits streams the commits that are reachable from the revisions. A page
// token is the id of the last commit of the page before.
func (s Commit) ListCommits(req *gitalypb.ListCommitsRequest, stream gitalypb.CommitService_ListCommitsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	after, limit := page(req.GetPaginationParams())
	var cursor *gitalypb.PaginationCursor // of the last message
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.ListCommitsResponse{Commits: c, PaginationCursor: cursor})
	}}
	last := ""
	more, err := commit.Page(ctx, s.Git, &repo.Repo, listWalk(req), after, limit, func(c *gitalypb.GitCommit) error {
		last = c.GetId()
		return out.add(c)
	})
	if err != nil {
		return err
	}
	if more {
		cursor = &gitalypb.PaginationCursor{NextCursor: last}
		if len(out.items) == 0 { // the page has just been sent
			return stream.Send(&gitalypb.ListCommitsResponse{PaginationCursor: cursor})
		}
	}
	return out.flush()
}

// ListAllCommits streams every commit of the object store. A page token is the id of
// the last commit of the page before.
func (s Commit) ListAllCommits(req *gitalypb.ListAllCommitsRequest, stream gitalypb.CommitService_ListAllCommitsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.ListAllCommitsResponse{Commits: c})
	}}
	after, limit := page(req.GetPaginationParams())
	return out.end(commit.All(ctx, s.Git, &repo.Repo, after, limit, out.add))
}

func listWalk(req *gitalypb.ListCommitsRequest) commit.Walk {
	w := commit.Walk{Revisions: req.GetRevisions(), Paths: texts(req.GetPaths())}
	w.Skip(int(req.GetSkip()))
	w.If(req.GetOrder() == gitalypb.ListCommitsRequest_TOPO, "--topo-order")
	w.If(req.GetOrder() == gitalypb.ListCommitsRequest_DATE, "--date-order")
	w.If(req.GetMaxParents() > 0, "--max-parents="+strconv.Itoa(int(req.GetMaxParents())))
	w.If(req.GetDisableWalk(), "--no-walk")
	w.If(req.GetFirstParent(), "--first-parent")
	w.If(req.GetReverse(), "--reverse")
	w.If(req.GetIgnoreCase(), "--regexp-ignore-case")
	w.Time("--since=", timeOf(req.GetAfter()))
	w.Time("--until=", timeOf(req.GetBefore()))
	w.If(len(req.GetAuthor()) > 0, "--author="+string(req.GetAuthor()))
	for _, p := range req.GetCommitMessagePatterns() {
		w.If(true, "--grep="+string(p))
	}
	return w
}
