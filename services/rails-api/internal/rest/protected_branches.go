package rest

import (
	"fmt"
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/param"
)

func (a *api) protectedBranchRoutes() []route {
	const list, one = "/projects/{id}/protected_branches", "/projects/{id}/protected_branches/{name:.+}"
	return []route{
		{"GET", list, signedIn, a.listProtected},
		{"POST", list, signedIn, a.protect},
		{"GET", one, signedIn, a.getProtected},
		{"PATCH", one, signedIn, a.updateProtected},
		{"DELETE", one, signedIn, a.unprotect},
	}
}

func (a *api) listProtected(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	search := p.String("search")
	if err := p.Err(); err != nil {
		return err
	}
	proj, err := a.project(r, access.AdminProtection)
	if err != nil {
		return err
	}
	list, total, err := a.protections.List(r.Context(), proj.ID, search, rows(pg))
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, protectedEntity)
}

func (a *api) getProtected(w http.ResponseWriter, r *http.Request) error {
	rule, err := a.ruleInPath(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, protectedEntity(rule))
}

func (a *api) protect(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("name")
	rule := protection.Rule{Name: p.String("name"), PushLevel: member.Maintainer, MergeLevel: member.Maintainer}
	readRule(p, &rule)
	if err := p.Err(); err != nil {
		return err
	}
	proj, err := a.project(r, access.AdminProtection)
	if err != nil {
		return err
	}
	rule.ProjectID = proj.ID
	rule, err = a.protections.Create(r.Context(), rule)
	if is(err, errs.Exists) {
		return message(http.StatusConflict, fmt.Sprintf("Protected branch '%s' already exists", p.String("name")))
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, protectedEntity(rule))
}

func (a *api) updateProtected(w http.ResponseWriter, r *http.Request) error {
	rule, err := a.ruleInPath(r)
	if err != nil {
		return err
	}
	readRule(params(r), &rule)
	if err := params(r).Err(); err != nil {
		return err
	}
	if rule, err = a.protections.Update(r.Context(), rule); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, protectedEntity(rule))
}

func (a *api) unprotect(w http.ResponseWriter, r *http.Request) error {
	rule, err := a.ruleInPath(r)
	if err != nil {
		return err
	}
	if err := a.protections.Delete(r.Context(), rule.ProjectID, rule.Name); err != nil {
		return err
	}
	return noContent(w)
}

func (a *api) ruleInPath(r *http.Request) (protection.Rule, error) {
	proj, err := a.project(r, access.AdminProtection)
	if err != nil {
		return protection.Rule{}, err
	}
	rule, err := a.protections.Get(r.Context(), proj.ID, segment(r, "name"))
	if is(err, errs.NotFound) {
		return rule, notFound("")
	}
	return rule, err
}

// readRule takes over what the request gives and leaves the rest as it is.
func readRule(p *param.Set, rule *protection.Rule) {
	level := func(name string, now member.Level) member.Level {
		return member.Level(p.OneOf(name, int(now), int(member.NoAccess), int(member.Developer), int(member.Maintainer), int(member.Admin)))
	}
	rule.PushLevel = level("push_access_level", rule.PushLevel)
	rule.MergeLevel = level("merge_access_level", rule.MergeLevel)
	if force := p.Bool("allow_force_push"); force != nil {
		rule.AllowForcePush = *force
	}
}

func protectedEntity(rule protection.Rule) entity.ProtectedBranch {
	return entity.ProtectedBranch{
		ID:                rule.ID,
		Name:              rule.Name,
		PushAccessLevels:  []entity.AccessRule{accessRule(rule.ID, rule.PushLevel)},
		MergeAccessLevels: []entity.AccessRule{accessRule(rule.ID, rule.MergeLevel)},
		AllowForcePush:    rule.AllowForcePush,
	}
}

func accessRule(id int64, level member.Level) entity.AccessRule {
	text := map[member.Level]string{
		member.NoAccess:   "No one",
		member.Developer:  "Developers + Maintainers",
		member.Maintainer: "Maintainers",
		member.Admin:      "Instance admins",
	}[level]
	return entity.AccessRule{ID: id, AccessLevel: int(level), AccessLevelDescription: text}
}
