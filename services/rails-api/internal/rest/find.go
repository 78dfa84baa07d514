package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/user"
)

// project returns the project that the path names, if the caller may do a to it. One that is hidden and one that is absent give the same
// answer; a project that moved is pointed to only after that (security-baseline.md P5, H4).
func (a *api) project(r *http.Request, act access.Action) (project.Project, error) {
	id := segment(r, "id")
	p, moved, err := a.projectByID(r.Context(), id)
	if is(err, errs.NotFound) {
		return p, notFound("Project")
	}
	if err != nil {
		return p, err
	}
	switch err := a.Access.Can(r.Context(), actor(r), act, p); {
	case is(err, errs.NotFound):
		return p, notFound("Project")
	case err != nil:
		return p, err
	}
	logging.AddAttrs(r.Context(), slog.String(logging.KeyProject, p.FullPath))
	if moved && !strings.EqualFold(id, p.FullPath) {
		return p, a.movedTo(r, p.ID)
	}
	return p, nil
}

func (a *api) projectByID(ctx context.Context, id string) (p project.Project, moved bool, err error) {
	if n, ok := number(id); ok {
		p, err = a.projects.ByID(ctx, n)
		return p, false, err
	}
	return a.projects.ByPath(ctx, id)
}

// group returns the group that the path names, if the caller may do a to it.
func (a *api) group(r *http.Request, act access.Action) (namespace.Namespace, error) {
	return a.namespaceNamed(r, "Group", act)
}

// namespaceNamed returns the namespace that the path names; what tells how an absent one is called, and "Group" admits groups only.
func (a *api) namespaceNamed(r *http.Request, what string, act access.Action) (namespace.Namespace, error) {
	id := segment(r, "id")
	var ns namespace.Namespace
	var moved bool
	var err error
	if n, ok := number(id); ok {
		ns, err = a.namespaces.ByID(r.Context(), n)
	} else {
		ns, moved, err = a.namespaces.ByPath(r.Context(), id)
	}
	if is(err, errs.NotFound) || (err == nil && what == "Group" && ns.Kind != namespace.Group) {
		return ns, notFound(what)
	}
	if err != nil {
		return ns, err
	}
	switch err := a.Access.CanNamespace(r.Context(), actor(r), act, ns); {
	case is(err, errs.NotFound):
		return ns, notFound(what)
	case err != nil:
		return ns, err
	}
	if moved && !strings.EqualFold(id, ns.FullPath) {
		return ns, a.movedTo(r, ns.ID)
	}
	return ns, nil
}

// movedTo leads to the same route under the number of what was renamed.
func (a *api) movedTo(r *http.Request, id int64) error {
	if !reads(r.Method) {
		return message(http.StatusMethodNotAllowed, "Non GET methods are not allowed for moved projects")
	}
	kind, tail, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), prefix+"/"), "/")
	location := a.apiURL(kind, id) + strings.TrimPrefix(tail, mux.Vars(r)["id"])
	if query := withoutTokens(r.URL.Query()); len(query) > 0 {
		location += "?" + query.Encode()
	}
	f := message(http.StatusMovedPermanently, "This resource has been moved permanently to "+location)
	f.location = location
	return f
}

func withoutTokens(query url.Values) url.Values {
	query.Del("private_token")
	query.Del("access_token")
	return query
}

// userInPath returns the account whose number stands in the path.
func (a *api) userInPath(r *http.Request, name string) (user.User, error) {
	id, ok := number(segment(r, name))
	if !ok {
		return user.User{}, notFound("User")
	}
	u, err := a.users.ByID(r.Context(), id)
	if is(err, errs.NotFound) {
		return u, notFound("User")
	}
	return u, err
}

// number reads an id; anything that is none, zero and negative numbers included, is not ok.
func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}
