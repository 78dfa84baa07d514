package repo

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/refname"
)

// Branch is a branch with its commit.
type Branch struct {
	Name   string
	Commit *gitalypb.GitCommit
}

// BranchQuery selects a page of branches.
type BranchQuery struct {
	Match         func(name string) bool // nil: all of them
	Sort          string                 // name_asc, updated_asc or updated_desc
	Offset, Limit int
}

// Branch returns one branch, or errs.NotFound.
func (r *Repo) Branch(ctx context.Context, name string) (Branch, error) {
	if refname.Check(refname.Heads+name) != nil {
		return Branch{}, errs.New(errs.NotFound, "no such branch")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := r.findCommit(ctx, refname.Heads+name)
	return Branch{Name: name, Commit: c}, err
}

// Branches returns a page of branches and the number of all that match. It takes two calls: the names of all, the commits of the page.
func (r *Repo) Branches(ctx context.Context, q BranchQuery) ([]Branch, int, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := r.refs.ListRefs(ctx, &gitalypb.ListRefsRequest{
		Repository: r.repository,
		Patterns:   [][]byte{[]byte(refname.Heads)},
		SortBy:     refOrder(q.Sort),
	})
	if err != nil {
		return nil, 0, remote(err)
	}
	type target struct{ name, id string }
	page := window[target]{offset: q.Offset, limit: q.Limit}
	err = receive(stream, func(msg *gitalypb.ListRefsResponse) {
		for _, ref := range msg.GetReferences() {
			name := strings.TrimPrefix(string(ref.GetName()), refname.Heads)
			if q.Match == nil || q.Match(name) {
				page.add(target{name, ref.GetTarget()})
			}
		}
	})
	if err != nil {
		return nil, 0, err
	}
	ids := make([]string, len(page.items))
	for i, t := range page.items {
		ids[i] = t.id
	}
	commits, err := r.commitsByID(ctx, ids)
	if err != nil {
		return nil, 0, err
	}
	branches := make([]Branch, 0, len(page.items))
	for _, t := range page.items {
		if c := commits[t.id]; c != nil { // else it went away meanwhile
			branches = append(branches, Branch{Name: t.name, Commit: c})
		}
	}
	return branches, page.seen, nil
}

func refOrder(sort string) *gitalypb.ListRefsRequest_SortBy {
	by := &gitalypb.ListRefsRequest_SortBy{Key: gitalypb.ListRefsRequest_SortBy_REFNAME}
	switch sort {
	case "updated_asc":
		by.Key = gitalypb.ListRefsRequest_SortBy_COMMITTERDATE
	case "updated_desc":
		by.Key, by.Direction = gitalypb.ListRefsRequest_SortBy_COMMITTERDATE, gitalypb.SortDirection_DESCENDING
	}
	return by
}

// CreateBranch makes a branch at a commit, through the same hooks as a push. A refusal is errs.Denied with the hook's words.
func (r *Repo) CreateBranch(ctx context.Context, u *gitalypb.User, name, commit string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := r.operations.UserCreateBranch(ctx, &gitalypb.UserCreateBranchRequest{
		Repository: r.repository, BranchName: []byte(name), User: u, StartPoint: []byte(commit),
	})
	return refusal(err)
}

// DeleteBranch removes a branch that is still at the commit, through the same hooks as a push.
func (r *Repo) DeleteBranch(ctx context.Context, u *gitalypb.User, name, commit string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := r.operations.UserDeleteBranch(ctx, &gitalypb.UserDeleteBranchRequest{
		Repository: r.repository, BranchName: []byte(name), User: u, ExpectedOldOid: commit,
	})
	return refusal(err)
}
