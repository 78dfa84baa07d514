// Package access decides who may do what. Every door (SSH, Git over HTTP, the
// hooks of a push, REST) asks the same rules here, with the actor's rights as they
// are at that moment. The order of the checks and their texts are those of
// wire/internal-api.md §5 and §6.
//
// Two refusals exist: errs.NotFound when the actor may not even know that the
// thing is there, and errs.Denied when it may be seen and not done.
package access

import (
	"context"
	"log/slog"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/user"
)

// Repositories is what the rules ask of the storage servers; gitaly.Client is one.
type Repositories interface {
	IsAncestor(ctx context.Context, p project.Project, q gitaly.Quarantine, ancestor, child string) (bool, error)
	HasBranches(ctx context.Context, p project.Project) (bool, error)
	LFSPointers(ctx context.Context, p project.Project, q gitaly.Quarantine, news []string, each func(oids []string) error) error
	ChangedPaths(ctx context.Context, p project.Project, q gitaly.Quarantine, news []string, each func(paths []string) error) error
}

// Creator makes a project with its repository; projectrepo.Service is one.
type Creator interface {
	Create(ctx context.Context, in project.NewProject) (project.Project, error)
}

// Deps is what a Checker works with.
type Deps struct {
	DB           postgres.DBTX
	Repositories Repositories
	Creator      Creator // for projects that a push makes
	Site         site.Site
	Log          *slog.Logger
	Now          func() time.Time
	// OTPSession is for how long an SSH key is good after its owner proved the second
	// factor over it; 0 asks nobody for that.
	OTPSession time.Duration
	// WithoutLFS: the installation takes no large files, whatever its projects say.
	WithoutLFS bool
}

// Checker decides. It is safe for concurrent use.
type Checker struct{ Deps }

// New returns a Checker.
func New(d Deps) *Checker { return &Checker{Deps: d} }

// Action is something a person wants to do with a project or a namespace.
type Action uint8

// The actions on a project.
const (
	ReadProject Action = iota
	DownloadCode
	PushCode
	ReadMembers
	AdminProject // change settings
	AdminMembers
	AdminProtection
	ArchiveProject
	RenameProject
	DeleteProject
)

// The actions on a namespace. ReadMembers and AdminMembers apply as well.
const (
	ReadNamespace Action = iota + 100
	CreateProjects
	CreateSubgroup
	AdminNamespace
	ReadDeployTokens // of a group; to change them is AdminNamespace
)

// levels is the lowest access level for an action; what is missing here nobody may do.
func levels() map[Action]member.Level {
	return map[Action]member.Level{
		ReadProject: member.Guest, DownloadCode: member.Reporter, PushCode: member.Developer, ReadMembers: member.Guest,
		AdminProject: member.Maintainer, AdminMembers: member.Maintainer, AdminProtection: member.Maintainer,
		ArchiveProject: member.Owner, RenameProject: member.Owner, DeleteProject: member.Owner,
		ReadNamespace: member.Minimal, CreateProjects: member.Developer, CreateSubgroup: member.Maintainer, AdminNamespace: member.Owner,
		ReadDeployTokens: member.Maintainer,
	}
}

// Can reports whether a user, nil for nobody, may do something with a project:
// nil, errs.NotFound or errs.Denied. Branches have rules of their own in CheckRefs.
func (c *Checker) Can(ctx context.Context, u *user.User, a Action, p project.Project) error {
	level, err := levelOf(u, func(id int64) (member.Level, error) { return c.ProjectLevel(ctx, id, p) })
	if err != nil {
		return err
	}
	return decide(u, level, a, p)
}

// decide holds the rules about one project for somebody with an access level.
func decide(u *user.User, level member.Level, a Action, p project.Project) error {
	open := p.Visibility == "public" || (p.Visibility == "internal" && u != nil && u.Active())
	if !open && level < levels()[ReadProject] {
		return errs.New(errs.NotFound, projectNotFound)
	}
	if open && (a == ReadProject || a == DownloadCode || a == ReadMembers) {
		return nil
	}
	if need, ok := levels()[a]; !ok || u == nil || level < need {
		return errs.New(errs.Denied, forbidden)
	}
	return nil
}

// CanNamespace is Can for a group or a personal namespace.
func (c *Checker) CanNamespace(ctx context.Context, u *user.User, a Action, ns namespace.Namespace) error {
	level, err := levelOf(u, func(id int64) (member.Level, error) { return c.NamespaceLevel(ctx, id, ns) })
	if err != nil {
		return err
	}
	visible, err := c.namespaceVisible(ctx, u, level, ns)
	if err != nil {
		return err
	}
	if !visible {
		return errs.New(errs.NotFound, namespaceNotFound)
	}
	if a == ReadNamespace || (a == ReadMembers && ns.Visibility != "private") {
		return nil
	}
	need, ok := levels()[a]
	if a == AdminMembers {
		need = member.Owner // of a group; a maintainer manages the members of a project only
	}
	if !ok || u == nil || level < need || (ns.Kind == namespace.User && (a == CreateSubgroup || a == AdminMembers)) {
		return errs.New(errs.Denied, forbidden)
	}
	return nil
}

// namespaceVisible: groups as their visibility says, and for those who see a
// project somewhere below; personal namespaces always, as user names are public.
func (c *Checker) namespaceVisible(ctx context.Context, u *user.User, level member.Level, ns namespace.Namespace) (bool, error) {
	switch {
	case ns.Kind == namespace.User, ns.Visibility == "public", level >= levels()[ReadNamespace]:
		return true, nil
	case u == nil, !u.Active():
		return false, nil
	case ns.Visibility == "internal":
		return true, nil
	}
	const below = `
		SELECT EXISTS (SELECT 1 FROM members m JOIN projects p ON p.id = m.project_id JOIN namespaces n ON n.id = p.namespace_id
			WHERE m.user_id = $1 AND m.access_level >= 10 AND (m.expires_at IS NULL OR m.expires_at > current_date)
			AND p.state = 'ready' AND $2 = ANY (n.traversal_ids))`
	var seen bool
	err := c.DB.QueryRow(ctx, below, u.ID, ns.ID).Scan(&seen)
	return seen, postgres.Error(err, "group")
}

// levelOf returns the level somebody acts with: none for nobody and for accounts
// that are not active, the highest for administrators.
func levelOf(u *user.User, stored func(id int64) (member.Level, error)) (member.Level, error) {
	switch {
	case u == nil, !u.Active():
		return member.NoAccess, nil
	case u.Admin:
		return member.Admin, nil
	}
	return stored(u.ID)
}

// ProjectLevel returns the highest access level by membership of the project, of
// the groups above it, or as the owner of its personal namespace.
func (c *Checker) ProjectLevel(ctx context.Context, userID int64, p project.Project) (member.Level, error) {
	return c.level(ctx, userID, p.ID, p.Namespace)
}

// NamespaceLevel returns the highest access level by membership of the group or
// of those above it, or as the owner of the personal namespace.
func (c *Checker) NamespaceLevel(ctx context.Context, userID int64, ns namespace.Namespace) (member.Level, error) {
	return c.level(ctx, userID, 0, ns)
}

func (c *Checker) level(ctx context.Context, userID, projectID int64, ns namespace.Namespace) (member.Level, error) {
	if ns.OwnerID != nil && *ns.OwnerID == userID {
		return member.Owner, nil
	}
	const query = `
		SELECT coalesce(max(access_level), 0) FROM members
		WHERE user_id = $1 AND (project_id = $2 OR namespace_id = ANY ($3)) AND (expires_at IS NULL OR expires_at > current_date)`
	var level member.Level
	err := c.DB.QueryRow(ctx, query, userID, projectID, append([]int64{}, ns.TraversalIDs...)).Scan(&level)
	return level, postgres.Error(err, "member")
}
