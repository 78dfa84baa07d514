package access

import (
	"context"
	"strings"
	"unicode/utf8"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/refname"
	"gitsplit/services/rails-api/internal/user"
)

// WebProtocol is the protocol of changes made through the web or the REST API.
const WebProtocol = "web"

// CheckRefs decides about changes that a user wants to make to references of a
// project through the web or the REST API, by the rules of a push.
func (c *Checker) CheckRefs(ctx context.Context, u *user.User, p project.Project, changes []Change) error {
	level, err := levelOf(u, func(id int64) (member.Level, error) { return c.ProjectLevel(ctx, id, p) })
	if err != nil {
		return err
	}
	if err := decide(u, level, ReadProject, p); err != nil {
		return err
	}
	rules, err := protection.New(c.DB).All(ctx, p.ID)
	if err != nil {
		return err
	}
	if err := writable(p); err != nil {
		return err
	}
	return c.checkChanges(ctx, push{user: u, level: level, project: p, rules: rules, protocol: WebProtocol, members: c.Site.Members(p.FullPath)}, changes)
}

// push is what the rules about references look at.
type push struct {
	user        *user.User
	deploy      bool // a deploy key that may push, and no user
	level       member.Level
	project     project.Project
	rules       []protection.Rule
	protocol    string
	quarantine  gitaly.Quarantine
	uninhabited bool   // no branch exists
	members     string // page of the project's members
}

// ReadOnly is the refusal of a push while the repository is being moved (row 13b).
func ReadOnly() error { return errs.New(errs.Denied, readOnly) }

// Gone is the refusal of a push to a project that was removed since its access check.
func Gone() error { return errs.New(errs.NotFound, projectNotFound) }

// writable refuses every change to a project that takes none (rows 13b and 13c).
func writable(p project.Project) error {
	switch {
	case p.RepositoryReadOnly:
		return ReadOnly()
	case p.Archived:
		return errs.New(errs.Denied, archived)
	}
	return nil
}

// checkChanges judges every change of a push; the first refusal refuses all of it.
func (c *Checker) checkChanges(ctx context.Context, in push, changes []Change) error {
	if !in.deploy && decide(in.user, in.level, PushCode, in.project) != nil {
		return errs.New(errs.Denied, noPush)
	}
	if in.project.EmptyRepo {
		if err := c.firstPush(ctx, &in); err != nil {
			return err
		}
	}
	for _, change := range changes {
		if err := c.checkChange(ctx, in, change); err != nil {
			return err
		}
	}
	return nil
}

// firstPush prepares the rules for a repository that, by our records, was never
// pushed to: the default branch is protected from the start. The storage server
// has the last word on whether there is a branch, since records may lag behind.
func (c *Checker) firstPush(ctx context.Context, in *push) error {
	if len(protection.Covering(in.rules, in.project.DefaultBranch)) == 0 {
		in.rules = append(in.rules, DefaultRule(in.project.ID, in.project.DefaultBranch))
	}
	inhabited, err := c.Repositories.HasBranches(ctx, in.project)
	in.uninhabited = !inhabited
	return err
}

// DefaultRule returns the protection that a project's default branch gets with
// the first push.
func DefaultRule(projectID int64, branch string) protection.Rule {
	return protection.Rule{ProjectID: projectID, Name: branch, PushLevel: member.Maintainer, MergeLevel: member.Maintainer}
}

func (c *Checker) checkChange(ctx context.Context, in push, change Change) error {
	if branch, ok := strings.CutPrefix(change.Ref, refname.Heads); ok {
		return c.checkBranch(ctx, in, change, branch)
	}
	if tag, ok := strings.CutPrefix(change.Ref, refname.Tags); ok {
		return checkTag(in, change, tag)
	}
	if refname.Check(change.Ref) != nil || internalNamespace(change.Ref) {
		return errs.New(errs.Denied, internalRef)
	}
	return nil
}

// internalNamespace reports whether the services keep a reference for themselves.
func internalNamespace(ref string) bool {
	for _, prefix := range []string{"refs/environments/", "refs/keep-around/", "refs/merge-requests/", "refs/pipelines/", "refs/remotes/", "refs/tmp/"} {
		if strings.HasPrefix(ref, prefix) {
			return true
		}
	}
	return false
}

func checkTag(in push, change Change, tag string) error {
	admin := in.deploy || in.level >= member.Developer
	switch {
	case !change.Creates() && !admin:
		return errs.New(errs.Denied, changeTag)
	case change.Creates() && tag == in.project.DefaultBranch:
		return errs.New(errs.Denied, defaultBranchTag)
	case change.Deletes():
		return nil
	case strings.ContainsRune(tag, utf8.RuneError):
		return errs.New(errs.Denied, tagEncoding)
	}
	switch refname.Short(tag) {
	case refname.ErrHash: //nolint:errorlint // Short returns it unwrapped
		return errs.New(errs.Denied, hashTag)
	case nil:
		return nil
	}
	return errs.New(errs.Denied, badTag)
}
