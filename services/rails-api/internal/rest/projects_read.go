package rest

import (
	"net/http"
	"strconv"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

func (a *api) projectRoutes() []route {
	return []route{
		{"GET", "/projects", anyone, a.listProjects},
		{"POST", "/projects", signedIn, a.createProject},
		{"GET", "/projects/{id}", anyone, a.getProject},
		{"PUT", "/projects/{id}", signedIn, a.updateProject},
		{"DELETE", "/projects/{id}", signedIn, a.deleteProject},
		{"POST", "/projects/{id}/archive", signedIn, a.archiveProject},
		{"POST", "/projects/{id}/unarchive", signedIn, a.unarchiveProject},
		{"POST", "/projects/{id}/fork", signedIn, a.forkProject},
		{"GET", "/projects/{id}/forks", anyone, a.listForks},
		{"GET", "/users/{user_id}/projects", anyone, a.listUserProjects},
	}
}

// projectList is a request for a list of projects.
type projectList struct {
	filter     project.Filter
	page       page.Page
	keyset     bool
	simple     bool
	statistics bool
}

// readProjectList reads the parameters that all lists of projects share; faults are left in the parameters.
func (a *api) readProjectList(r *http.Request) projectList {
	p := params(r)
	l := projectList{page: page.Read(p), simple: p.Flag("simple") || actor(r) == nil, statistics: p.Flag("statistics")}
	l.keyset = p.Enum("pagination", "legacy", "legacy", "offset", "keyset") == "keyset"
	l.filter = project.Filter{
		ViewerID:    actorID(r),
		ViewerAdmin: isAdmin(r),
		Owned:       p.Flag("owned") && actor(r) != nil,
		Membership:  p.Flag("membership") && actor(r) != nil,
		MinLevel:    p.OneOf("min_access_level", 0, 5, 10, 15, 20, 30, 40, 50),
		Archived:    p.Bool("archived"),
		Visibility:  readVisibility(p),
		Search:      p.String("search"),
		OrderBy:     projectOrder(p.Enum("order_by", "created_at", "id", "name", "path", "created_at", "updated_at", "last_activity_at", "similarity", "star_count")),
		Asc:         p.Enum("sort", "desc", "asc", "desc") == "asc",
		IDAfter:     p.Int("id_after", 0),
		IDBefore:    p.Int("id_before", 0),
		Page:        rows(l.page),
	}
	if l.keyset {
		if l.filter.OrderBy != "id" {
			p.Fault("order_by", "does not have a valid value")
		}
		l.page.Number = 1
		l.filter.Page.Offset = 0
		l.filter.Page.Limit++ // one row more tells whether there is a next page
	}
	return l
}

// projectOrder replaces the orders that are not kept: there are no stars, and a search is not ranked.
func projectOrder(by string) string {
	if by == "similarity" || by == "star_count" {
		return "created_at"
	}
	return by
}

func (a *api) listProjects(w http.ResponseWriter, r *http.Request) error {
	l := a.readProjectList(r)
	if err := params(r).Err(); err != nil {
		return err
	}
	return a.writeProjects(w, r, l)
}

// listUserProjects lists what stands in a user's personal namespace.
func (a *api) listUserProjects(w http.ResponseWriter, r *http.Request) error {
	l := a.readProjectList(r)
	if err := params(r).Err(); err != nil {
		return err
	}
	u, err := a.userInPath(r, "user_id")
	if err != nil {
		return err
	}
	l.filter.OwnerID = u.ID
	return a.writeProjects(w, r, l)
}

// writeProjects answers with a page of projects: basic ones for strangers and with simple=true.
func (a *api) writeProjects(w http.ResponseWriter, r *http.Request, l projectList) error {
	list, total, err := a.projects.List(r.Context(), l.filter)
	if err != nil {
		return err
	}
	if l.keyset {
		list = a.keysetHeaders(w, r, l, list)
	} else {
		l.page.Headers(w.Header(), a.self(r), total)
	}
	if l.simple {
		forks, err := a.projects.CountForks(r.Context(), idsOf(list))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, shapes(list, func(p project.Project) entity.ProjectBasic { return a.projectBasic(p, forks) }))
	}
	full, err := a.projectEntities(r, list)
	if err != nil {
		return err
	}
	for i := range full {
		if l.statistics {
			full[i].Statistics = statistics(list[i])
		}
	}
	return writeJSON(w, http.StatusOK, full)
}

func (a *api) keysetHeaders(w http.ResponseWriter, r *http.Request, l projectList, list []project.Project) []project.Project {
	more := len(list) > l.page.Size
	list = list[:min(len(list), l.page.Size)]
	if more {
		last := strconv.FormatInt(list[len(list)-1].ID, 10)
		next := map[string]string{"id_before": last, "id_after": "", "page": ""}
		if l.filter.Asc {
			next = map[string]string{"id_after": last, "id_before": "", "page": ""}
		}
		page.Keyset(w.Header(), a.self(r), l.page.Size, more, next)
	}
	return list
}

func (a *api) getProject(w http.ResponseWriter, r *http.Request) error {
	withStatistics := params(r).Flag("statistics")
	if err := params(r).Err(); err != nil {
		return err
	}
	p, err := a.project(r, access.ReadProject)
	if err != nil {
		return err
	}
	full, err := a.projectFull(r, p)
	if err != nil {
		return err
	}
	if withStatistics {
		full.Statistics = statistics(p)
	}
	return writeJSON(w, http.StatusOK, full)
}
