package rest

import (
	"net/http"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

func (a *api) groupRoutes() []route {
	return []route{
		{"GET", "/groups", anyone, a.listGroups},
		{"POST", "/groups", signedIn, a.createGroup},
		{"GET", "/groups/{id}", anyone, a.getGroup},
		{"PUT", "/groups/{id}", signedIn, a.updateGroup},
		{"DELETE", "/groups/{id}", signedIn, a.deleteGroup},
		{"GET", "/groups/{id}/subgroups", anyone, a.listSubgroups},
		{"GET", "/groups/{id}/projects", anyone, a.listGroupProjects},
	}
}

func (a *api) listGroups(w http.ResponseWriter, r *http.Request) error {
	return a.groupsBelow(w, r, 0)
}

func (a *api) listSubgroups(w http.ResponseWriter, r *http.Request) error {
	parent, err := a.group(r, access.ReadNamespace)
	if err != nil {
		return err
	}
	return a.groupsBelow(w, r, parent.ID)
}

// groupsBelow lists the groups that the caller may see, those directly in one group when parent is given.
func (a *api) groupsBelow(w http.ResponseWriter, r *http.Request, parent int64) error {
	p := params(r)
	pg := page.Read(p)
	f := namespace.Filter{
		Kind:        namespace.Group,
		ViewerID:    actorID(r),
		ViewerAdmin: isAdmin(r),
		Owned:       p.Flag("owned") && actor(r) != nil,
		MinLevel:    p.OneOf("min_access_level", 0, 5, 10, 15, 20, 30, 40, 50),
		TopLevel:    p.Flag("top_level_only"),
		ParentID:    parent,
		Search:      p.String("search"),
		OrderBy:     p.Enum("order_by", "name", "id", "name", "path", "similarity"),
		Asc:         p.Enum("sort", "asc", "asc", "desc") == "asc",
		Page:        rows(pg),
	}
	if f.OrderBy == "similarity" {
		f.OrderBy = "name"
	}
	if err := p.Err(); err != nil {
		return err
	}
	list, total, err := a.namespaces.List(r.Context(), f)
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, a.groupEntity)
}

// getGroup shows a group with its first projects, unless with_projects=false.
func (a *api) getGroup(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	with := p.Bool("with_projects")
	if err := p.Err(); err != nil {
		return err
	}
	ns, err := a.group(r, access.ReadNamespace)
	if err != nil {
		return err
	}
	if with != nil && !*with {
		return writeJSON(w, http.StatusOK, a.groupDetail(ns))
	}
	f := project.Filter{ViewerID: actorID(r), ViewerAdmin: isAdmin(r), NamespaceID: ns.ID, OrderBy: "id", Page: rows(page.Page{Number: 1, Size: 100})}
	list, _, err := a.projects.List(r.Context(), f)
	if err != nil {
		return err
	}
	detail := a.groupDetail(ns)
	detail.SharedProjects = []entity.Project{}
	if detail.Projects, err = a.projectEntities(r, list); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, detail)
}

func (a *api) listGroupProjects(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	l := a.readProjectList(r)
	l.filter.Subgroups = p.Flag("include_subgroups")
	if err := p.Err(); err != nil {
		return err
	}
	ns, err := a.group(r, access.ReadNamespace)
	if err != nil {
		return err
	}
	l.filter.NamespaceID = ns.ID
	return a.writeProjects(w, r, l)
}

func (a *api) groupDetail(ns namespace.Namespace) entity.GroupDetail {
	return entity.GroupDetail{Group: a.groupEntity(ns), SharedWithGroups: []entity.Namespace{}}
}

func (a *api) groupEntity(ns namespace.Namespace) entity.Group {
	return entity.Group{
		ID:                   ns.ID,
		WebURL:               a.namespaceURL(ns.Kind, ns.FullPath),
		Name:                 ns.Name,
		Path:                 ns.Path,
		Description:          ns.Description,
		Visibility:           string(ns.Visibility),
		ProjectCreationLevel: "developer",
		SubgroupCreation:     "maintainer",
		FullName:             ns.FullName,
		FullPath:             ns.FullPath,
		CreatedAt:            entity.Time(ns.CreatedAt),
		ParentID:             ns.ParentID,
	}
}
