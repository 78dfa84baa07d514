package rpc

import (
	"errors"

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
	if req.GetLimit() == 0 {
		return nil
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
	follow := follows(req)
	skip := 0
	if follow {
		skip = int(req.GetOffset())
	}
	each := func(c *gitalypb.GitCommit) error {
		if skip--; skip >= 0 {
			return nil
		}
		return out.add(c)
	}
	if follow || req.GetIncludeShortstat() || len(walk.ReferencedBy) > 0 {
		err = commit.Log(ctx, s.Git, &repo.Repo, walk, follow, req.GetIncludeShortstat(), each)
	} else {
		err = commit.List(ctx, s.Git, &repo.Repo, walk, each)
	}
	if err != nil {
		return findCommitsError(err, req.GetRevision())
	}
	return out.flush()
}

// findCommitsError adds the detail to a revision that is not there.
func findCommitsError(err error, revision []byte) error {
	var detail gitalypb.FindCommitsError
	switch {
	case errors.Is(err, commit.ErrNoName):
		detail.Error = &gitalypb.FindCommitsError_AmbiguousRef{AmbiguousRef: &gitalypb.AmbiguousReferenceError{Reference: revision}}
	case errors.Is(err, commit.ErrNoRange):
		detail.Error = &gitalypb.FindCommitsError_InvalidRange{InvalidRange: &gitalypb.InvalidRevisionRange{Range: revision}}
	case errs.KindOf(err) == errs.NotFound:
		detail.Error = &gitalypb.FindCommitsError_BadObject{BadObject: &gitalypb.BadObjectError{BadOid: revision}}
	default:
		return err
	}
	return detailed(codes.NotFound, "commits not found", &detail)
}

func follows(req *gitalypb.FindCommitsRequest) bool {
	return req.GetFollow() && len(req.GetPaths()) > 0
}

func logWalk(req *gitalypb.FindCommitsRequest) (commit.Walk, error) {
	w := commit.Walk{Trailers: req.GetTrailers(), ReferencedBy: texts(req.GetIncludeReferencedBy()), Paths: texts(req.GetPaths())}
	if req.GetOffset() < 0 {
		return w, invalid("negative offset")
	}
	for _, p := range req.GetPaths() {
		if len(p) == 0 {
			return w, invalid("path is empty string")
		}
	}
	switch {
	case req.GetAll():
		w.Revisions = []string{"--all"}
		w.If(true, "--reverse")
	case len(req.GetRevision()) > 0:
		w.Revisions = []string{string(req.GetRevision())}
	}
	if follows(req) { // git loses the trail when it skips
		w.Limit(int(req.GetLimit()) + int(req.GetOffset()))
	} else {
		w.Limit(int(req.GetLimit()))
		w.Skip(int(req.GetOffset()))
	}
	w.If(req.GetSkipMerges(), "--no-merges")
	w.If(req.GetDisableWalk(), "--no-walk")
	w.If(req.GetFirstParent(), "--first-parent")
	w.If(req.GetOrder() == gitalypb.FindCommitsRequest_TOPO, "--topo-order")
	w.If(len(req.GetAuthor()) > 0, "--author="+string(req.GetAuthor()))
	w.If(req.GetMessageRegex() != "", "--grep="+req.GetMessageRegex())
	w.Time("--since=", timeOf(req.GetAfter()))
	w.Time("--until=", timeOf(req.GetBefore()))
	return w, nil
}
