package rpc

import (
	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/ref"
)

// FindCommits streams a history as git log shows it. Without a revision it is that
// of the default branch; a repository without commits has none.
func (s Commit) FindCommits(req *gitalypb.FindCommitsRequest, stream gitalypb.CommitService_FindCommitsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	walk, err := logWalk(req)
	if err != nil {
		return err
	}
	if len(walk.Revisions) == 0 {
		name, err := ref.Default(ctx, s.Git, &repo.Repo)
		if err != nil || name == "" {
			return err
		}
		walk.Revisions = []string{name}
	}
	out := chunks[*gitalypb.GitCommit]{send: func(c []*gitalypb.GitCommit) error {
		return stream.Send(&gitalypb.FindCommitsResponse{Commits: c})
	}}
	each := func(c *gitalypb.GitCommit) error {
		if req.GetTrailers() {
			c.Trailers = commit.Trailers(c.Body)
		}
		return out.add(c)
	}
	if req.GetFollow() || req.GetIncludeShortstat() {
		err = commit.Log(ctx, s.Git, &repo.Repo, walk, req.GetFollow() && len(walk.Paths) > 0, req.GetIncludeShortstat(), each)
	} else {
		err = commit.List(ctx, s.Git, &repo.Repo, walk, each)
	}
	if errs.KindOf(err) == errs.NotFound {
		return detailed(codes.NotFound, "commits not found", &gitalypb.FindCommitsError{
			Error: &gitalypb.FindCommitsError_BadObject{BadObject: &gitalypb.BadObjectError{BadOid: req.GetRevision()}},
		})
	}
	if err != nil {
		return err
	}
	return out.flush()
}

func logWalk(req *gitalypb.FindCommitsRequest) (commit.Walk, error) {
	var w commit.Walk
	if req.GetOffset() < 0 {
		return w, invalid("negative offset")
	}
	if len(req.GetIncludeReferencedBy()) > 0 || req.GetMessageRegex() != "" {
		return w, errs.New(errs.Unimplemented, "include_referenced_by and message_regex are not supported")
	}
	for _, p := range req.GetPaths() {
		if len(p) == 0 {
			return w, invalid("path is empty string")
		}
	}
	w.Paths = texts(req.GetPaths())
	switch {
	case req.GetAll():
		w.Revisions = []string{"--all"}
	case len(req.GetRevision()) > 0:
		w.Revisions = []string{string(req.GetRevision())}
	}
	w.Limit(int(req.GetLimit()))
	w.Skip(int(req.GetOffset()))
	w.If(req.GetSkipMerges(), "--no-merges")
	w.If(req.GetDisableWalk(), "--no-walk")
	w.If(req.GetFirstParent(), "--first-parent")
	w.If(req.GetOrder() == gitalypb.FindCommitsRequest_TOPO, "--topo-order")
	w.If(len(req.GetAuthor()) > 0, "--author="+string(req.GetAuthor()))
	w.Time("--since=", timeOf(req.GetAfter()))
	w.Time("--until=", timeOf(req.GetBefore()))
	return w, nil
}
