package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
	"gitsplit/services/rails-api/internal/rest/repo"
)

// createBranch makes a branch at a revision. The change is judged twice: here, so that the answer is plain, and by the hooks that gitaly
// runs as for a push.
func (a *api) createBranch(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("branch", "ref")
	name, ref := strings.TrimPrefix(p.String("branch"), refname.Heads), p.String("ref")
	if err := p.Err(); err != nil {
		return err
	}
	proj, git, err := a.repository(r, access.PushCode)
	if err != nil {
		return err
	}
	if refname.Short(name) != nil {
		return message(http.StatusBadRequest, "Branch name is invalid")
	}
	if _, err := git.Branch(r.Context(), name); err == nil {
		return message(http.StatusBadRequest, "Branch already exists")
	} else if !is(err, errs.NotFound) {
		return err
	}
	start, err := git.Resolve(r.Context(), ref)
	if is(err, errs.NotFound) {
		return message(http.StatusBadRequest, fmt.Sprintf("Failed to create branch '%s': invalid reference name '%s'", name, ref))
	}
	if err != nil {
		return err
	}
	if err := a.checkRef(r, proj, access.Change{Old: zeroID(start.GetId()), New: start.GetId(), Ref: refname.Heads + name}); err != nil {
		return err
	}
	if err := git.CreateBranch(r.Context(), gitActor(r), name, start.GetId()); err != nil {
		if is(err, errs.Exists) || is(err, errs.FailedPrecondition) {
			return message(http.StatusBadRequest, "Branch already exists")
		}
		return err
	}
	return a.writeBranch(w, r, http.StatusCreated, proj, repo.Branch{Name: name, Commit: start})
}

func (a *api) deleteBranch(w http.ResponseWriter, r *http.Request) error {
	proj, git, err := a.repository(r, access.PushCode)
	if err != nil {
		return err
	}
	b, err := git.Branch(r.Context(), segment(r, "branch"))
	if err != nil {
		return missing(err, "Branch")
	}
	if b.Name == proj.DefaultBranch {
		return message(http.StatusMethodNotAllowed, "Cannot remove HEAD branch")
	}
	old := b.Commit.GetId()
	if err := a.checkRef(r, proj, access.Change{Old: old, New: zeroID(old), Ref: refname.Heads + b.Name}); err != nil {
		return err
	}
	if err := git.DeleteBranch(r.Context(), gitActor(r), b.Name, old); err != nil {
		return err
	}
	return noContent(w)
}

// checkRef asks whether the caller may make one change of a reference.
func (a *api) checkRef(r *http.Request, p project.Project, c access.Change) error {
	return a.Access.CheckRefs(r.Context(), actor(r), p, []access.Change{c})
}

// setHead makes a branch the one that HEAD points to; in a repository with branches it has to exist.
func (a *api) setHead(ctx context.Context, p project.Project, branch string) error {
	if refname.Short(branch) != nil {
		return invalid("is not a valid branch name", "default_branch")
	}
	if !p.EmptyRepo {
		git, err := repo.Open(a.Gitaly, p)
		if err != nil {
			return err
		}
		if _, err := git.Branch(ctx, branch); is(err, errs.NotFound) {
			return invalid(fmt.Sprintf("Could not set the default branch. Do you have a branch named '%s' in your repository?", branch), "base")
		} else if err != nil {
			return err
		}
	}
	return a.Gitaly.SetDefaultBranch(ctx, p, branch)
}

// zeroID is the id of nothing, as long as another id.
func zeroID(like string) string { return strings.Repeat("0", len(like)) }

// gitActor describes the caller to gitaly.
func gitActor(r *http.Request) *gitalypb.User {
	u := actor(r)
	return &gitalypb.User{
		GlId: fmt.Sprintf("user-%d", u.ID), GlUsername: u.Username, Name: []byte(u.Name), Email: []byte(u.Email), Timezone: "UTC",
	}
}
