package rest

import (
	"net/http"
	"strings"

	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/user"
)

func (a *api) userRoutes() []route {
	return []route{
		{"GET", "/user", signedIn | readUser, a.getCurrentUser},
		{"GET", "/users", signedIn | readUser, a.listUsers},
		{"POST", "/users", admin, a.createUser},
		{"GET", "/users/{id}", signedIn | readUser, a.getUser},
		{"PUT", "/users/{id}", admin, a.updateUser},
		{"DELETE", "/users/{id}", admin, a.deleteUser},
		{"POST", "/users/{id}/block", admin, a.blockUser},
		{"POST", "/users/{id}/unblock", admin, a.unblockUser},
	}
}

func (a *api) getCurrentUser(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, a.userFull(*actor(r), isAdmin(r)))
}

func (a *api) listUsers(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	f := user.Filter{
		Username: p.String("username"),
		Search:   p.String("search"),
		OrderBy:  p.Enum("order_by", "id", "id", "name", "username", "created_at", "updated_at"),
		Asc:      p.Enum("sort", "desc", "asc", "desc") == "asc",
		Admins:   p.Flag("admins") && isAdmin(r),
		People:   p.Flag("humans") || p.Flag("without_project_bots"),
		Page:     rows(pg),
	}
	switch {
	case p.Flag("blocked"):
		f.State = user.Blocked
	case p.Flag("active"):
		f.State = user.Active
	}
	if err := p.Err(); err != nil {
		return err
	}
	if strings.Contains(f.Search, "@") && !isAdmin(r) { // the answer would tell whose address it is
		return writeList(a, w, r, pg, []user.User{}, 0, a.userBasic)
	}
	list, total, err := a.users.List(r.Context(), f)
	if err != nil {
		return err
	}
	if isAdmin(r) {
		return writeList(a, w, r, pg, list, total, func(u user.User) entity.User { return a.userFull(u, true) })
	}
	return writeList(a, w, r, pg, list, total, a.userBasic)
}

func (a *api) getUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if isAdmin(r) {
		return writeJSON(w, http.StatusOK, a.userFull(u, true))
	}
	return writeJSON(w, http.StatusOK, a.userProfile(u))
}

func (a *api) userBasic(u user.User) entity.UserBasic {
	return entity.UserBasic{ID: u.ID, Username: u.Username, Name: u.Name, State: string(u.State), WebURL: a.web(u.Username), Locked: false}
}

func (a *api) userProfile(u user.User) entity.UserProfile {
	return entity.UserProfile{UserBasic: a.userBasic(u), CreatedAt: entity.Time(u.CreatedAt), Bot: u.Bot}
}

func (a *api) userFull(u user.User, forAdmin bool) entity.User {
	full := entity.User{
		UserProfile:      a.userProfile(u),
		ConfirmedAt:      new(entity.Time(u.CreatedAt)),
		LastActivityOn:   entity.DatePtr(u.LastActivityOn),
		Email:            u.Email,
		ThemeID:          1,
		ColorSchemeID:    1,
		ProjectsLimit:    100000,
		Identities:       []string{},
		CanCreateGroup:   !u.Bot,
		CanCreateProject: !u.Bot,
		TwoFactorEnabled: u.TwoFactor,
		CommitEmail:      u.Email,
		NamespaceID:      u.NamespaceID,
	}
	if forAdmin {
		full.IsAdmin = &u.Admin
		full.Note = new("")
	}
	return full
}
