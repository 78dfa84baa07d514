package rpc

import (
	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// ListCommits streams the commits that are reachable from the revisions. A page
// token is the id of the last commit of the page before.
func (s Commit) ListCommits(req *gitalypb.ListCommitsRequest, stream gitalypb.CommitService_ListCommitsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	token, limit := page(req.GetPaginationParams())
	walk := listWalk(req)
	if token == "" {
		walk.Limit(limit)
	}
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.ListCommitsResponse{Commits: c})
	}}
	started, count := token == "", 0
	err = commit.List(ctx, s.Git, &repo.Repo, walk, func(c *gitalypb.GitCommit) error {
		if !started {
			started = c.GetId() == token
			return nil
		}
		if limit > 0 && count == limit {
			return gitcmd.ErrStop
		}
		count++
		return out.add(c)
	})
	switch {
	case err != nil:
		return err
	case !started:
		return errs.New(errs.Invalid, "could not find page token")
	}
	return out.flush()
}

func listWalk(req *gitalypb.ListCommitsRequest) commit.Walk {
	w := commit.Walk{Revisions: req.GetRevisions(), Paths: texts(req.GetPaths())}
	w.Skip(int(req.GetSkip()))
	w.If(req.GetOrder() == gitalypb.ListCommitsRequest_TOPO, "--topo-order")
	w.If(req.GetOrder() == gitalypb.ListCommitsRequest_DATE, "--date-order")
	w.If(req.GetMaxParents() == 1, "--no-merges")
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
