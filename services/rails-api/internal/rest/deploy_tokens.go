package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/deploytoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

func (a *api) deployTokenRoutes() []route {
	all := &deployTokenAPI{api: a, load: func(*http.Request, access.Action) (memberSource, error) { return memberSource{}, nil }}
	routes := []route{{"GET", "/deploy_tokens", admin, all.list}}
	for path, d := range map[string]*deployTokenAPI{
		"/projects/{id}/deploy_tokens": {api: a, load: a.projectSource, read: access.AdminProject, write: access.AdminProject},
		"/groups/{id}/deploy_tokens":   {api: a, load: a.groupSource, read: access.ReadDeployTokens, write: access.AdminNamespace},
	} {
		routes = append(routes,
			route{"GET", path, signedIn, d.list},
			route{"POST", path, signedIn, d.create},
			route{"GET", path + "/{token_id}", signedIn, d.get},
			route{"DELETE", path + "/{token_id}", signedIn, d.remove},
		)
	}
	return routes
}

// deployTokenAPI serves the deploy tokens of projects, of groups, or all of them.
type deployTokenAPI struct {
	*api
	load        sourceLoader
	read, write access.Action
}

func (d *deployTokenAPI) list(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	f := deploytoken.Filter{Active: p.Flag("active"), Now: d.Now(), Page: rows(pg)}
	if err := p.Err(); err != nil {
		return err
	}
	src, err := d.load(r, d.read)
	if err != nil {
		return err
	}
	f.Source = src.Source
	list, total, err := d.deployTokens.List(r.Context(), f)
	if err != nil {
		return err
	}
	return writeList(d.api, w, r, pg, list, total, d.deployTokenEntity)
}

func (d *deployTokenAPI) get(w http.ResponseWriter, r *http.Request) error {
	t, err := d.inPath(r, d.read)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d.deployTokenEntity(t))
}

// create makes a token that ends within a year, as every token does (security-baseline.md T1); GitLab's may have no end.
func (d *deployTokenAPI) create(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("name", "scopes")
	in := deploytoken.NewToken{CreatorID: actorID(r), Name: p.String("name"), Username: p.String("username")}
	in.Scopes = scopeList(p, deploytoken.Scopes())
	ends := p.Time("expires_at")
	if err := p.Err(); err != nil {
		return err
	}
	src, err := d.load(r, d.write)
	if err != nil {
		return err
	}
	in.Source = src.Source
	if ends, err = d.expiry(ends, maxTokenDays); err != nil {
		return err
	}
	in.ExpiresAt = *ends
	t, plain, err := d.deployTokens.Create(r.Context(), in)
	if err != nil {
		return err
	}
	shape := d.deployTokenEntity(t)
	shape.Token = plain
	return writeJSON(w, http.StatusCreated, shape)
}

func (d *deployTokenAPI) remove(w http.ResponseWriter, r *http.Request) error {
	t, err := d.inPath(r, d.write)
	if err != nil {
		return err
	}
	if err := d.deployTokens.Remove(r.Context(), t.Source, t.ID); err != nil {
		return err
	}
	return noContent(w)
}

// inPath returns the token in the path, of the project or group in the path.
func (d *deployTokenAPI) inPath(r *http.Request, act access.Action) (deploytoken.Token, error) {
	src, err := d.load(r, act)
	if err != nil {
		return deploytoken.Token{}, err
	}
	return ofSource(r, src.Source, d.deployTokens.Get)
}

// ofSource reads what the path's token_id names; what another project or group has does not exist.
func ofSource[T any](r *http.Request, src member.Source, get getOfSource[T]) (T, error) {
	var none T
	id, ok := number(segment(r, "token_id"))
	if !ok {
		return none, notFound("")
	}
	found, err := get(r.Context(), src, id)
	if is(err, errs.NotFound) {
		return none, notFound("")
	}
	return found, err
}

func (a *api) deployTokenEntity(t deploytoken.Token) entity.DeployToken {
	return entity.DeployToken{
		ID: t.ID, Name: t.Name, Username: t.Username, ExpiresAt: entity.Time(t.ExpiresAt), Scopes: entity.List(t.Scopes),
		Expired: t.Expired(a.Now()),
	}
}
