package rest

import (
	"context"
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/bot"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/token"
)

func (a *api) accessTokenRoutes() []route {
	var routes []route
	for kind, load := range map[string]sourceLoader{"project": a.projectSource, "group": a.groupSource} {
		t := &accessTokenAPI{api: a, kind: kind, load: load}
		path := "/" + kind + "s/{id}/access_tokens"
		routes = append(routes,
			route{"GET", path, signedIn, t.list},
			route{"POST", path, signedIn, t.create},
			route{"GET", path + "/{token_id}", signedIn, t.get},
			route{"DELETE", path + "/{token_id}", signedIn, t.remove},
			route{"POST", path + "/self/rotate", signedIn | selfRotate, t.rotateSelf},
			route{"POST", path + "/{token_id}/rotate", signedIn, t.rotateOne},
		)
	}
	return routes
}

// getOfSource reads one thing of a project or group by its number.
type getOfSource[T any] func(ctx context.Context, src member.Source, id int64) (T, error)

// accessTokenAPI serves the access tokens of projects or of groups. Who manages the members manages them.
type accessTokenAPI struct {
	*api
	kind string // project or group
	load sourceLoader
}

// source loads the project or group; to those who see it and may not manage it the answer is as to bad tokens.
func (t *accessTokenAPI) source(r *http.Request) (memberSource, error) {
	src, err := t.load(r, access.AdminMembers)
	if is(err, errs.Denied) {
		return src, unauthorized()
	}
	return src, err
}

func (t *accessTokenAPI) list(w http.ResponseWriter, r *http.Request) error {
	f, pg, err := t.tokenFilter(r)
	if err != nil {
		return err
	}
	src, err := t.source(r)
	if err != nil {
		return err
	}
	list, total, err := t.bots.List(r.Context(), src.Source, f)
	if err != nil {
		return err
	}
	return writeList(t.api, w, r, pg, list, total, func(found bot.Token) entity.ResourceToken { return t.shape(found, src.Source) })
}

func (t *accessTokenAPI) get(w http.ResponseWriter, r *http.Request) error {
	src, found, err := t.inPath(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, t.shape(found, src.Source))
}

// create makes a token, and the bot that it belongs to. A token of a bot makes no others: they would outlive it.
func (t *accessTokenAPI) create(w http.ResponseWriter, r *http.Request) error {
	level := member.Level(params(r).OneOf("access_level", int(member.Maintainer), int(member.Guest), int(member.Planner), int(member.Reporter),
		int(member.Developer), int(member.Maintainer), int(member.Owner)))
	in, err := t.newToken(r, bot.Scopes())
	if err != nil {
		return err
	}
	src, err := t.load(r, access.AdminMembers)
	if is(err, errs.Denied) || (err == nil && actor(r).Bot) {
		return badRequest("User does not have permission to create " + t.kind + " access token")
	}
	if err != nil {
		return err
	}
	if higher, err := t.exceeds(r, src, level); err != nil || higher {
		return orError(err, badRequest("Access level of the token can't be greater the access level of the user who created the token"))
	}
	made, plain, err := t.bots.Create(r.Context(), bot.NewToken{
		Source: src.Source, Level: level, CreatorID: actorID(r), Host: t.ExternalURL.Hostname(), Token: in,
	})
	if err != nil {
		return err
	}
	return t.write(w, http.StatusCreated, made, src.Source, plain)
}

// remove ends a token with its bot; one that was rotated has a successor and ended already.
func (t *accessTokenAPI) remove(w http.ResponseWriter, r *http.Request) error {
	src, found, err := t.inPath(r)
	if err != nil {
		return err
	}
	if higher, err := t.exceeds(r, src, found.Level); err != nil || higher {
		return orError(err, forbidden(""))
	}
	return t.revoke(w, r, found.Token)
}

func (t *accessTokenAPI) rotateOne(w http.ResponseWriter, r *http.Request) error {
	src, err := t.source(r)
	if err != nil {
		return err
	}
	found, err := ofSource(r, src.Source, t.bots.Get)
	if err != nil && answer(err).status == http.StatusNotFound && !isAdmin(r) || actor(r).Bot { // only administrators hear that there is none
		return unauthorized()
	}
	if err != nil {
		return err
	}
	if higher, err := t.exceeds(r, src, found.Level); err != nil || higher {
		return orError(err, badRequest("Not eligible to rotate token with access level higher than the user"))
	}
	return t.rotateFound(w, r, src.Source, found)
}

// rotateSelf needs no right but the token itself, which has to be of this project or group.
func (t *accessTokenAPI) rotateSelf(w http.ResponseWriter, r *http.Request) error {
	src, err := t.load(r, access.ReadMembers)
	if err != nil {
		return err
	}
	found, err := t.bots.Get(r.Context(), src.Source, current(r).token.ID)
	if is(err, errs.NotFound) {
		return message(http.StatusMethodNotAllowed, "405 Method Not Allowed")
	}
	if err != nil {
		return err
	}
	return t.rotateFound(w, r, src.Source, found)
}

func (t *accessTokenAPI) rotateFound(w http.ResponseWriter, r *http.Request, src member.Source, old bot.Token) error {
	fresh, plain, err := t.rotated(r, old.Token)
	if err != nil {
		return err
	}
	return t.write(w, http.StatusOK, bot.Token{Token: fresh, Level: old.Level}, src, plain)
}

func (t *accessTokenAPI) inPath(r *http.Request) (memberSource, bot.Token, error) {
	src, err := t.source(r)
	if err != nil {
		return src, bot.Token{}, err
	}
	found, err := ofSource(r, src.Source, t.bots.Get)
	return src, found, err
}

func (t *accessTokenAPI) write(w http.ResponseWriter, status int, made bot.Token, src member.Source, plain string) error {
	shape := t.shape(made, src)
	shape.Token.Token = plain
	return writeJSON(w, status, shape)
}

func (t *accessTokenAPI) shape(found bot.Token, src member.Source) entity.ResourceToken {
	return entity.ResourceToken{
		Token: t.tokenEntity(found.Token), AccessLevel: int(found.Level), ResourceType: t.kind, ResourceID: src.ProjectID + src.NamespaceID,
	}
}

// orError returns an error of the way, or else what it led to.
func orError(err error, f *failure) error {
	if err != nil {
		return err
	}
	return f
}

// tokenFilter reads what lists of access tokens are narrowed by.
func (a *api) tokenFilter(r *http.Request) (token.Filter, page.Page, error) {
	p := params(r)
	pg := page.Read(p)
	f := token.Filter{
		State: p.Enum("state", "", "active", "inactive"), Revoked: p.Bool("revoked"), Search: p.String("search"), Now: a.Now(), Page: rows(pg),
	}
	return f, pg, p.Err()
}
