package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/visibility"
)

// forkProject makes a fork of a project whose code the caller reads, in their own namespace unless one is named. It is there at once, its
// repository as soon as import_status says "finished". `branches` names the only branch to take.
func (a *api) forkProject(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	in := project.NewProject{
		CreatorID: &actor(r).ID, Name: p.String("name"), Path: p.String("path"), Description: p.String("description"), Visibility: readVisibility(p),
	}
	target, branch := forkTarget(p), p.String("branches")
	if err := p.Err(); err != nil {
		return err
	}
	source, err := a.project(r, access.DownloadCode)
	if err != nil {
		return err
	}
	if !source.Import.HasRepository() {
		return message(http.StatusConflict, "409 Conflict - the project has no repository yet")
	}
	ns, err := a.forkNamespace(r, target)
	if err != nil {
		return err
	}
	if branch != "" {
		_, git, err := a.repository(r, access.DownloadCode)
		if err != nil {
			return err
		}
		if _, err := git.Branch(r.Context(), branch); is(err, errs.NotFound) {
			return notFound("Branch")
		} else if err != nil {
			return err
		}
	}
	fork, err := a.Repositories.Fork(r.Context(), source, inherit(in, source, ns, branch), branch)
	if is(err, errs.Exists) {
		return &failure{status: http.StatusConflict, body: map[string][]string{"message": {
			"Project namespace name has already been taken", "Name has already been taken", "Path has already been taken",
		}}}
	}
	if err != nil {
		return err
	}
	full, err := a.projectFull(r, fork)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, full)
}

// forkTarget returns the number or the path of the namespace for a fork, "" for the caller's own.
func forkTarget(p *param.Set) string {
	for _, name := range []string{"namespace_id", "namespace_path", "namespace"} { // the last one is how it was called
		if given := p.String(name); given != "" {
			return given
		}
	}
	return ""
}

// forkNamespace finds where a fork is to stand. A namespace that is absent, hidden or closed to the caller gives the same answer.
func (a *api) forkNamespace(r *http.Request, target string) (ns namespace.Namespace, err error) {
	id, numeric := number(target)
	switch {
	case target == "":
		ns, err = a.namespaces.ByID(r.Context(), actor(r).NamespaceID)
	case numeric:
		ns, err = a.namespaces.ByID(r.Context(), id)
	default:
		ns, _, err = a.namespaces.ByPath(r.Context(), target)
	}
	if err == nil {
		err = a.Access.CanNamespace(r.Context(), actor(r), access.CreateProjects, ns)
	}
	if is(err, errs.NotFound) || is(err, errs.Denied) {
		return ns, notFound("Target Namespace")
	}
	return ns, err
}

// inherit fills in what a fork has from its source. It is never more open than that, nor than the group it stands in.
func inherit(in project.NewProject, source project.Project, ns namespace.Namespace, branch string) project.NewProject {
	for _, f := range []struct {
		field *string
		value string
	}{{&in.Name, source.Name}, {&in.Path, source.Path}, {&in.Description, source.Description}, {(*string)(&in.Visibility), string(source.Visibility)}, {&in.DefaultBranch, branch}, {&in.DefaultBranch, source.DefaultBranch}} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
	bounds := []visibility.Level{source.Visibility}
	if ns.Kind == namespace.Group {
		bounds = append(bounds, ns.Visibility)
	}
	for _, bound := range bounds {
		if !in.Visibility.Within(bound) {
			in.Visibility = bound
		}
	}
	in.NamespaceID, in.WithoutLFS = ns.ID, !source.LFSEnabled
	return in
}

// listForks lists the forks of a project that the caller may see.
func (a *api) listForks(w http.ResponseWriter, r *http.Request) error {
	l := a.readProjectList(r)
	if err := params(r).Err(); err != nil {
		return err
	}
	p, err := a.project(r, access.ReadProject)
	if err != nil {
		return err
	}
	l.filter.ForksOf = p.ID
	return a.writeProjects(w, r, l)
}

// fitsSource refuses a fork more open than its source.
func (a *api) fitsSource(r *http.Request, level visibility.Level, p project.Project) error {
	if p.ForkedFromID == nil {
		return nil
	}
	source, err := a.projects.ByID(r.Context(), *p.ForkedFromID)
	if is(err, errs.NotFound) {
		return nil
	}
	if err == nil && !level.Within(source.Visibility) {
		return invalid(string(level)+" is not allowed since the fork source project has lower visibility.", "visibility_level")
	}
	return err
}

// sources returns the projects that those of a page were forked from and the caller may see, by id.
func (a *api) sources(r *http.Request, list []project.Project) (map[int64]project.Project, error) {
	var ids []int64
	for _, p := range list {
		if p.ForkedFromID != nil {
			ids = append(ids, *p.ForkedFromID)
		}
	}
	found := map[int64]project.Project{}
	if len(ids) == 0 {
		return found, nil
	}
	filter := project.Filter{ViewerID: actorID(r), ViewerAdmin: isAdmin(r), IDs: ids}
	filter.Page.Limit = len(ids)
	visible, _, err := a.projects.List(r.Context(), filter)
	for _, p := range visible {
		found[p.ID] = p
	}
	return found, err
}
