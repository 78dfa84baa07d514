package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/param"
)

func (a *api) deployKeyRoutes() []route {
	const list, one = "/projects/{id}/deploy_keys", "/projects/{id}/deploy_keys/{key_id}"
	return []route{
		{"GET", "/deploy_keys", admin, a.listAllDeployKeys},
		{"GET", list, signedIn, a.listDeployKeys},
		{"POST", list, signedIn, a.addDeployKey},
		{"GET", one, signedIn, a.getDeployKey},
		{"PUT", one, signedIn, a.updateDeployKey},
		{"DELETE", one, signedIn, a.deleteDeployKey},
		{"POST", one + "/enable", signedIn, a.enableDeployKey},
	}
}

func (a *api) listAllDeployKeys(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	if err := p.Err(); err != nil {
		return err
	}
	list, total, err := a.keys.ListDeploy(r.Context(), rows(pg))
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, deployKeyEntity)
}

func (a *api) listDeployKeys(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	if err := p.Err(); err != nil {
		return err
	}
	proj, err := a.project(r, access.AdminProject)
	if err != nil {
		return err
	}
	list, total, err := a.keys.ListAttached(r.Context(), proj.ID, rows(pg))
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, attachedKeyEntity)
}

func (a *api) getDeployKey(w http.ResponseWriter, r *http.Request) error {
	_, k, err := a.deployKeyInPath(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, attachedKeyEntity(k))
}

func (a *api) addDeployKey(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("title", "key")
	in := key.NewKey{Title: p.String("title"), Text: p.String("key"), ExpiresAt: p.Time("expires_at")}
	canPush := p.Flag("can_push")
	if err := p.Err(); err != nil {
		return err
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(a.Now()) {
		return invalid("must be in the future", "expires_at")
	}
	proj, err := a.project(r, access.AdminProject)
	if err != nil {
		return err
	}
	in.UserID = actor(r).ID
	k, err := a.keys.Add(r.Context(), in, proj.ID, canPush, func(ids []int64) (bool, error) { return a.administersOne(r, ids) })
	if is(err, errs.Exists) {
		return invalid("has already been taken", "deploy_key.fingerprint_sha256")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, attachedKeyEntity(k))
}

// administersOne reports whether the caller manages one of the projects that have
// a key already: only then it may be attached to another.
func (a *api) administersOne(r *http.Request, projects []int64) (bool, error) {
	for _, id := range projects {
		p, err := a.projects.ByID(r.Context(), id)
		if err == nil {
			err = a.Access.Can(r.Context(), actor(r), access.AdminProject, p)
		}
		switch {
		case err == nil:
			return true, nil
		case !is(err, errs.NotFound) && !is(err, errs.Denied):
			return false, err
		}
	}
	return false, nil
}

// enableDeployKey attaches a key of one project of the caller to another.
func (a *api) enableDeployKey(w http.ResponseWriter, r *http.Request) error {
	proj, err := a.project(r, access.AdminProject)
	if err != nil {
		return err
	}
	id, ok := number(segment(r, "key_id"))
	if !ok {
		return notFound("Deploy Key")
	}
	projects, err := a.keys.Projects(r.Context(), id)
	if err != nil {
		return err
	}
	if ok, err = a.administersOne(r, projects); err != nil {
		return err
	}
	if !ok {
		return notFound("Deploy Key")
	}
	k, err := a.keys.Attach(r.Context(), id, proj.ID, false)
	if is(err, errs.Exists) { // it is enabled here already
		k, err = a.keys.AttachedTo(r.Context(), id, proj.ID)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, attachedKeyEntity(k))
}

func (a *api) updateDeployKey(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.RequireOne("title", "can_push")
	title, canPush := optionalText(p, "title"), p.Bool("can_push")
	if err := p.Err(); err != nil {
		return err
	}
	proj, k, err := a.deployKeyInPath(r)
	if err != nil {
		return err
	}
	if k, err = a.keys.Retitle(r.Context(), k.ID, proj.ID, title, canPush); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, attachedKeyEntity(k))
}

// optionalText is nil for what is not given or empty.
func optionalText(p *param.Set, name string) *string {
	if text := p.String(name); text != "" {
		return &text
	}
	return nil
}

func (a *api) deleteDeployKey(w http.ResponseWriter, r *http.Request) error {
	proj, k, err := a.deployKeyInPath(r)
	if err != nil {
		return err
	}
	if err := a.keys.Detach(r.Context(), k.ID, proj.ID); err != nil {
		return err
	}
	return noContent(w)
}

// deployKeyInPath returns the project and its deploy key; keys of others do not exist.
func (a *api) deployKeyInPath(r *http.Request) (project.Project, key.Attached, error) {
	proj, err := a.project(r, access.AdminProject)
	if err != nil {
		return proj, key.Attached{}, err
	}
	id, ok := number(segment(r, "key_id"))
	if !ok {
		return proj, key.Attached{}, notFound("Deploy Key")
	}
	k, err := a.keys.AttachedTo(r.Context(), id, proj.ID)
	if is(err, errs.NotFound) {
		return proj, k, notFound("Deploy Key")
	}
	return proj, k, err
}

func deployKeyEntity(k key.Key) entity.DeployKey {
	return entity.DeployKey{
		ID: k.ID, Title: k.Title, Key: k.Text, FingerprintSHA256: "SHA256:" + k.Fingerprint,
		CreatedAt: entity.Time(k.CreatedAt), ExpiresAt: entity.TimePtr(k.ExpiresAt),
	}
}

func attachedKeyEntity(k key.Attached) entity.DeployKey {
	shape := deployKeyEntity(k.Key)
	shape.CanPush = &k.CanPush
	return shape
}
