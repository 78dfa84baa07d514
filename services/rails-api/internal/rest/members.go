package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

func (a *api) memberRoutes() []route {
	var routes []route
	for path, load := range map[string]sourceLoader{"/projects/{id}/members": a.projectSource, "/groups/{id}/members": a.groupSource} {
		m := &memberAPI{api: a, load: load}
		routes = append(routes,
			route{"GET", path, anyone, m.list},
			route{"POST", path, signedIn, m.add},
			route{"GET", path + "/all", anyone, m.listAll},
			route{"GET", path + "/all/{user_id}", anyone, m.getAll},
			route{"GET", path + "/{user_id}", anyone, m.get},
			route{"PUT", path + "/{user_id}", signedIn, m.update},
			route{"DELETE", path + "/{user_id}", signedIn, m.remove},
		)
	}
	return routes
}

// memberSource is what has members: a project or a group, with the caller's own level in it.
type memberSource struct {
	member.Source
	level func() (member.Level, error)
}

// sourceLoader loads the source in the path for reading or changing its members.
type sourceLoader func(r *http.Request, act access.Action) (memberSource, error)

func (a *api) projectSource(r *http.Request, act access.Action) (memberSource, error) {
	p, err := a.project(r, act)
	level := func() (member.Level, error) { return a.Access.ProjectLevel(r.Context(), actorID(r), p) }
	return memberSource{member.OfProject(p.ID), level}, err
}

func (a *api) groupSource(r *http.Request, act access.Action) (memberSource, error) {
	ns, err := a.group(r, act)
	level := func() (member.Level, error) { return a.Access.NamespaceLevel(r.Context(), actorID(r), ns) }
	return memberSource{member.OfNamespace(ns.ID), level}, err
}

// memberAPI serves the members of projects or of groups.
type memberAPI struct {
	*api
	load sourceLoader
}

func (m *memberAPI) list(w http.ResponseWriter, r *http.Request) error { return m.page(w, r, false) }

func (m *memberAPI) listAll(w http.ResponseWriter, r *http.Request) error { return m.page(w, r, true) }

func (m *memberAPI) page(w http.ResponseWriter, r *http.Request, inherited bool) error {
	p := params(r)
	pg := page.Read(p)
	f := member.Filter{Query: p.String("query"), UserIDs: p.IDs("user_ids"), Inherited: inherited, Page: rows(pg)}
	if err := p.Err(); err != nil {
		return err
	}
	src, err := m.load(r, access.ReadMembers)
	if err != nil {
		return err
	}
	list, total, err := m.members.List(r.Context(), src.Source, f)
	if err != nil {
		return err
	}
	return writeList(m.api, w, r, pg, list, total, m.memberEntity)
}

func (m *memberAPI) get(w http.ResponseWriter, r *http.Request) error {
	return m.one(w, r, m.members.Get)
}

func (m *memberAPI) getAll(w http.ResponseWriter, r *http.Request) error {
	return m.one(w, r, m.members.GetInherited)
}

func (m *memberAPI) one(w http.ResponseWriter, r *http.Request, get getMember) error {
	src, err := m.load(r, access.ReadMembers)
	if err != nil {
		return err
	}
	found, err := m.inPath(r, src, get)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m.memberEntity(found))
}

func (m *memberAPI) inPath(r *http.Request, src memberSource, get getMember) (member.Member, error) {
	id, ok := number(segment(r, "user_id"))
	if !ok {
		return member.Member{}, notFound("")
	}
	found, err := get(r.Context(), src.Source, id)
	if is(err, errs.NotFound) {
		return found, notFound("")
	}
	return found, err
}

func (a *api) memberEntity(m member.Member) entity.Member {
	return entity.Member{
		UserBasic:       a.userBasic(m.User),
		AccessLevel:     int(m.Level),
		CreatedAt:       entity.Time(m.CreatedAt),
		ExpiresAt:       entity.DatePtr(m.ExpiresAt),
		MembershipState: "active",
	}
}
