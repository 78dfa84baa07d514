package repo

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
)

// CommitQuery selects a page of a history.
type CommitQuery struct {
	From          string // a commit id; "" is every branch and tag
	Not           string // a commit id whose history is left out, "" leaves out none
	Path          string
	Author        string
	Since, Until  *time.Time
	FirstParent   bool
	Topological   bool
	Offset, Limit int
}

// Commits returns a page of a history, newest first, and whether there are more.
func (r *Repo) Commits(ctx context.Context, q CommitQuery) (commits []*gitalypb.GitCommit, more bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	req := &gitalypb.ListCommitsRequest{
		Repository:       r.repository,
		Revisions:        []string{q.From},
		PaginationParams: &gitalypb.PaginationParameter{Limit: int32(q.Limit) + 1}, //nolint:gosec // a page has at most 100 rows
		Skip:             uint32(q.Offset),                                         //nolint:gosec // bounded by package page
		FirstParent:      q.FirstParent,
		Author:           []byte(q.Author),
		After:            stamp(q.Since),
		Before:           stamp(q.Until),
	}
	if q.From == "" {
		req.Revisions = []string{"--branches", "--tags"}
	}
	if q.Not != "" {
		req.Revisions = append(req.Revisions, "^"+q.Not)
	}
	if q.Path != "" {
		req.Paths = [][]byte{[]byte(q.Path)}
		req.GlobalOptions = &gitalypb.GlobalOptions{LiteralPathspecs: true}
	}
	if q.Topological {
		req.Order = gitalypb.ListCommitsRequest_TOPO
	}
	stream, err := r.commits.ListCommits(ctx, req)
	if err != nil {
		return nil, false, remote(err)
	}
	err = receive(stream, func(msg *gitalypb.ListCommitsResponse) { commits = append(commits, msg.GetCommits()...) })
	if err != nil {
		return nil, false, err
	}
	more = len(commits) > q.Limit
	return commits[:min(len(commits), q.Limit)], more, nil
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}

// commitsByID reads many commits at once.
func (r *Repo) commitsByID(ctx context.Context, ids []string) (map[string]*gitalypb.GitCommit, error) {
	found := make(map[string]*gitalypb.GitCommit, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	stream, err := r.commits.ListCommitsByOid(ctx, &gitalypb.ListCommitsByOidRequest{Repository: r.repository, Oid: ids})
	if err != nil {
		return nil, remote(err)
	}
	err = receive(stream, func(msg *gitalypb.ListCommitsByOidResponse) {
		for _, c := range msg.GetCommits() {
			found[c.GetId()] = c
		}
	})
	return found, err
}

// LastCommit returns the id of the last commit, up to the given one, that changed a path.
func (r *Repo) LastCommit(ctx context.Context, commit, path string) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := r.commits.LastCommitForPath(ctx, &gitalypb.LastCommitForPathRequest{
		Repository: r.repository, Revision: []byte(commit), Path: []byte(path), LiteralPathspec: true,
	})
	return res.GetCommit().GetId(), remote(err)
}

// Stats counts the lines that a commit adds and deletes.
func (r *Repo) Stats(ctx context.Context, commit string) (additions, deletions int32, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := r.commits.CommitStats(ctx, &gitalypb.CommitStatsRequest{Repository: r.repository, Revision: []byte(commit)})
	return res.GetAdditions(), res.GetDeletions(), remote(err)
}
