package rest

import (
	"net/http"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
	"gitsplit/services/rails-api/internal/visibility"
)

// createProject makes a project with an empty repository, in the caller's own namespace unless namespace_id names another. A repository
// with a first commit (initialize_with_readme) is not made: the parameter is ignored.
func (a *api) createProject(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.RequireOne("name", "path")
	me := actor(r)
	in := project.NewProject{
		NamespaceID:   p.Int("namespace_id", me.NamespaceID),
		CreatorID:     &me.ID,
		Name:          p.String("name"),
		Path:          p.String("path"),
		Description:   p.String("description"),
		Visibility:    readVisibility(p),
		DefaultBranch: p.String("default_branch"),
	}
	if lfs := p.Bool("lfs_enabled"); lfs != nil {
		in.WithoutLFS = !*lfs
	}
	if err := p.Err(); err != nil {
		return err
	}
	if in.Path == "" {
		in.Path = slug(in.Name)
	}
	if in.Name == "" {
		in.Name = in.Path
	}
	if in.Visibility == "" {
		in.Visibility = visibility.Private
	}
	if in.DefaultBranch != "" && refname.Short(in.DefaultBranch) != nil {
		return invalid("is not a valid branch name", "default_branch")
	}
	ns, err := a.projectNamespace(r, in.NamespaceID)
	if err != nil {
		return err
	}
	if err := fits(in.Visibility, ns); err != nil {
		return err
	}
	created, err := a.Repositories.Create(r.Context(), in)
	if err != nil {
		return projectConflict(err)
	}
	full, err := a.projectFull(r, created)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, full)
}

// projectNamespace returns the namespace for a new project. One that is absent, hidden or closed to the caller gives the same answer.
func (a *api) projectNamespace(r *http.Request, id int64) (namespace.Namespace, error) {
	ns, err := a.namespaces.ByID(r.Context(), id)
	if err == nil {
		err = a.Access.CanNamespace(r.Context(), actor(r), access.CreateProjects, ns)
	}
	if is(err, errs.NotFound) || is(err, errs.Denied) {
		return ns, invalid("is not valid", "namespace")
	}
	return ns, err
}

// fits refuses a project more open than the group it is to stand in.
func fits(level visibility.Level, ns namespace.Namespace) error {
	if ns.Kind == namespace.Group && !level.Within(ns.Visibility) {
		return invalid(string(level)+" is not allowed in a "+string(ns.Visibility)+" group.", "visibility_level")
	}
	return nil
}

// projectConflict names all the fields that GitLab names when a path is taken.
func projectConflict(err error) error {
	if is(err, errs.Exists) {
		return invalid("has already been taken", "project_namespace.name", "name", "path")
	}
	return err
}

// slug makes a path of a name: lower case, with one dash for anything that is no letter or digit of ASCII, nor `_` or `.`.
func slug(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '.':
			b.WriteRune(c)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-.")
}
