package access

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

// newProject says what a push to a path makes: a private project. Where the user
// may not create projects, the path leads nowhere.
func (c *Checker) newProject(ctx context.Context, u *user.User, path string) (project.NewProject, error) {
	missing := errs.New(errs.NotFound, projectNotFound)
	at := strings.LastIndex(path, "/")
	if at <= 0 || strings.EqualFold(path[:at], "snippets") {
		return project.NewProject{}, missing
	}
	ns, moved, err := namespace.New(c.DB).ByPath(ctx, path[:at])
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return project.NewProject{}, missing
	case err != nil:
		return project.NewProject{}, err
	case moved && !strings.EqualFold(ns.FullPath, path[:at]): // a former path makes nothing new
		return project.NewProject{}, missing
	}
	switch err := c.CanNamespace(ctx, u, CreateProjects, ns); errs.KindOf(err) {
	case errs.NotFound, errs.Denied:
		return project.NewProject{}, missing
	default:
		return project.NewProject{
			NamespaceID: ns.ID, CreatorID: &u.ID, Path: path[at+1:], Visibility: visibility.Private,
		}, err
	}
}
