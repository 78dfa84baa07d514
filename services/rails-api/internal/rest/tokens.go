package rest

import (
	"net/http"
	"slices"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/token"
)

func (a *api) tokenRoutes() []route {
	return []route{
		{"GET", "/personal_access_tokens", signedIn, a.listTokens},
		{"GET", "/personal_access_tokens/self", signedIn | anyScope, a.getOwnToken},
		{"DELETE", "/personal_access_tokens/self", signedIn | anyScope, a.revokeOwnToken},
		{"POST", "/personal_access_tokens/self/rotate", signedIn | selfRotate, a.rotateOwnToken},
		{"GET", "/personal_access_tokens/{id}", signedIn, a.getToken},
		{"DELETE", "/personal_access_tokens/{id}", signedIn, a.revokeToken},
		{"POST", "/personal_access_tokens/{id}/rotate", signedIn, a.rotateToken},
		{"POST", "/user/personal_access_tokens", signedIn, a.createOwnToken},
		{"POST", "/users/{id}/personal_access_tokens", admin, a.createToken},
	}
}

func (a *api) listTokens(w http.ResponseWriter, r *http.Request) error {
	userID := params(r).Int("user_id", 0)
	f, pg, err := a.tokenFilter(r)
	if err != nil {
		return err
	}
	f.UserID = userID
	if !isAdmin(r) {
		if f.UserID != 0 && f.UserID != actorID(r) {
			return unauthorized()
		}
		f.UserID = actorID(r)
	}
	list, total, err := a.tokens.List(r.Context(), f)
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, a.tokenEntity)
}

func (a *api) getOwnToken(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, a.tokenEntity(current(r).token))
}

func (a *api) getToken(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tokenInPath(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.tokenEntity(t))
}

func (a *api) revokeOwnToken(w http.ResponseWriter, r *http.Request) error {
	return a.revoke(w, r, current(r).token)
}

func (a *api) revokeToken(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tokenInPath(r)
	if err != nil {
		return err
	}
	return a.revoke(w, r, t)
}

// revoke ends a token. With the token of a bot goes the bot, unless the token was revoked before: then the bot has another.
func (a *api) revoke(w http.ResponseWriter, r *http.Request, t token.Token) error {
	if !t.Revoked {
		if removed, err := a.bots.Remove(r.Context(), t.UserID); err != nil || removed {
			return orNoContent(w, err)
		}
	}
	return orNoContent(w, a.tokens.Revoke(r.Context(), t.ID))
}

func orNoContent(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	return noContent(w)
}

// tokenInPath returns the token in the path if it is the caller's own or the caller is an administrator. To others it makes no difference
// whether there is such a token.
func (a *api) tokenInPath(r *http.Request) (token.Token, error) {
	id, _ := number(segment(r, "id"))
	t, err := a.tokens.ByID(r.Context(), id)
	if err != nil && !is(err, errs.NotFound) {
		return t, err
	}
	if (err != nil || t.UserID != actorID(r)) && !isAdmin(r) {
		return token.Token{}, unauthorized()
	}
	if err != nil {
		return token.Token{}, notFound("")
	}
	return t, nil
}

func (a *api) tokenEntity(t token.Token) entity.Token {
	return entity.Token{
		ID:          t.ID,
		Name:        t.Name,
		Revoked:     t.Revoked,
		CreatedAt:   entity.Time(t.CreatedAt),
		Description: optional(t.Description),
		Scopes:      entity.List(slices.Clone(t.Scopes)),
		UserID:      t.UserID,
		LastUsedAt:  entity.TimePtr(t.LastUsedAt),
		Active:      t.Active(a.Now()),
		ExpiresAt:   entity.DatePtr(t.ExpiresAt),
	}
}

// optional returns nil for an empty text.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// today is the current day in UTC.
func (a *api) today() time.Time { return a.Now().UTC().Truncate(24 * time.Hour) }
