package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/user"
)

func (a *api) keyRoutes() []route {
	return []route{
		{"GET", "/user/keys", signedIn | readUser, a.listKeys},
		{"POST", "/user/keys", signedIn, a.addKey},
		{"GET", "/user/keys/{key_id}", signedIn | readUser, a.getKey},
		{"DELETE", "/user/keys/{key_id}", signedIn, a.deleteKey},
		{"GET", "/users/{id}/keys", signedIn | readUser, a.listKeys},
		{"POST", "/users/{id}/keys", admin, a.addKey},
		{"GET", "/users/{id}/keys/{key_id}", signedIn | readUser, a.getKey},
		{"DELETE", "/users/{id}/keys/{key_id}", admin, a.deleteKey},
	}
}

// keyOwner returns whose keys a route is about: of the user in the path, else of the caller.
func (a *api) keyOwner(r *http.Request) (user.User, error) {
	if segment(r, "id") == "" {
		return *actor(r), nil
	}
	return a.userInPath(r, "id")
}

func (a *api) listKeys(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	if err := p.Err(); err != nil {
		return err
	}
	owner, err := a.keyOwner(r)
	if err != nil {
		return err
	}
	list, total, err := a.keys.ListByUser(r.Context(), owner.ID, rows(pg))
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, keyEntity)
}

func (a *api) getKey(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.keyOwner(r)
	if err != nil {
		return err
	}
	k, err := a.ownedKey(r, owner)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, keyEntity(k))
}

func (a *api) addKey(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("title", "key")
	in := key.NewKey{
		Title:     p.String("title"),
		Text:      p.String("key"),
		UsageType: key.UsageType(p.Enum("usage_type", string(key.AuthAndSigning), string(key.AuthAndSigning), string(key.Auth), string(key.Signing))),
		ExpiresAt: p.Time("expires_at"),
	}
	if err := p.Err(); err != nil {
		return err
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(a.Now()) {
		return invalid("must be in the future", "expires_at")
	}
	owner, err := a.keyOwner(r)
	if err != nil {
		return err
	}
	if owner.Bot {
		return errBot()
	}
	in.UserID = owner.ID
	k, err := a.keys.Create(r.Context(), in)
	if is(err, errs.Exists) {
		return invalid("has already been taken", "fingerprint_sha256", "key")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, keyEntity(k))
}

func (a *api) deleteKey(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.keyOwner(r)
	if err != nil {
		return err
	}
	k, err := a.ownedKey(r, owner)
	if err != nil {
		return err
	}
	if err := a.keys.Delete(r.Context(), owner.ID, k.ID); err != nil {
		return err
	}
	return noContent(w)
}

// ownedKey returns the key in the path if it belongs to the owner; keys of others do not exist.
func (a *api) ownedKey(r *http.Request, owner user.User) (key.Key, error) {
	id, ok := number(segment(r, "key_id"))
	if !ok {
		return key.Key{}, notFound("Key")
	}
	k, err := a.keys.ByID(r.Context(), id)
	if is(err, errs.NotFound) || (err == nil && (k.UserID != owner.ID || k.Kind != key.OfUser)) {
		return key.Key{}, notFound("Key")
	}
	return k, err
}

func keyEntity(k key.Key) entity.SSHKey {
	return entity.SSHKey{
		ID:         k.ID,
		Title:      k.Title,
		CreatedAt:  entity.Time(k.CreatedAt),
		ExpiresAt:  entity.TimePtr(k.ExpiresAt),
		LastUsedAt: entity.TimePtr(k.LastUsedAt),
		Key:        k.Text,
		UsageType:  string(k.UsageType),
	}
}
