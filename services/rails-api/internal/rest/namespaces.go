package rest

import (
	"net/http"
	"strconv"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

func (a *api) namespaceRoutes() []route {
	return []route{
		{"GET", "/namespaces", signedIn, a.listNamespaces},
		{"GET", "/namespaces/{id}", signedIn, a.getNamespace},
	}
}

func (a *api) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	f := namespace.Filter{
		ViewerID:    actorID(r),
		ViewerAdmin: isAdmin(r),
		Owned:       p.Flag("owned_only"),
		TopLevel:    p.Flag("top_level_only"),
		Search:      p.String("search"),
		Asc:         true,
		Page:        rows(pg),
	}
	if !isAdmin(r) {
		f.MinLevel = 10 // the namespaces one belongs to, not every public one
	}
	if err := p.Err(); err != nil {
		return err
	}
	list, total, err := a.namespaces.List(r.Context(), f)
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, a.namespaceEntity)
}

func (a *api) getNamespace(w http.ResponseWriter, r *http.Request) error {
	ns, err := a.namespaceNamed(r, "Namespace", access.ReadNamespace)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.namespaceEntity(ns))
}

func (a *api) namespaceEntity(ns namespace.Namespace) entity.Namespace {
	return entity.Namespace{
		ID:       ns.ID,
		Name:     ns.Name,
		Path:     ns.Path,
		Kind:     string(ns.Kind),
		FullPath: ns.FullPath,
		ParentID: ns.ParentID,
		WebURL:   a.namespaceURL(ns.Kind, ns.FullPath),
	}
}

func (a *api) namespaceURL(kind namespace.Kind, fullPath string) string {
	if kind == namespace.Group {
		return a.web("groups", fullPath)
	}
	return a.web(fullPath)
}

// apiURL is the public URL of an API resource.
func (a *api) apiURL(kind string, id int64, more ...string) string {
	return a.web(append([]string{prefix[1:], kind, strconv.FormatInt(id, 10)}, more...)...)
}
