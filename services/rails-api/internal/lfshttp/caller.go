package lfshttp

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/user"
)

// caller is who asks, with what they may do in one project.
type caller struct {
	access.GitResult
	authorization string // the header that came; "" for nobody
	upload        bool   // pushing was asked for, and is permitted
	from          lfstoken.Origin
}

// credentials are what a request proves.
type credentials struct {
	access.Who
	access.Abilities
	grant   *lfstoken.Grant      // of an LFS token, nil for others
	bound   func(user.User) bool // tells whether the token still is its user's
	name    string               // that came with the token
	from    lfstoken.Origin      // what was shown, now or to get the LFS token
	refusal func(error) error    // words what the credential's owner may not have
}

// admit finds out who asks and decides about what they want, by the rules of Git
// (wire/workhorse.md §6.7, §10): action is access.UploadPack or ReceivePack. at is
// when the credentials were first shown.
func (a *api) admit(r *http.Request, path, action string, at time.Time) (caller, error) {
	ctx := r.Context()
	logging.AddAttrs(ctx, slog.String(logging.KeyCommand, action), slog.String("client_ip", auth.Address(r)))
	in := access.GitRequest{Action: action, Path: path, Protocol: "http", Any: true, Existing: true, Abilities: access.Abilities{Download: true}}
	username, password, signedIn := r.BasicAuth()
	var shown credentials
	if signedIn {
		var err error
		if shown, err = a.credentials(r, username, password, at); err != nil {
			return caller{}, own{err}
		}
		in.Who, in.Abilities = shown.Who, shown.Abilities
	}
	result, err := a.Access.Git(ctx, in)
	if !signedIn {
		return caller{GitResult: result}, a.anonymous(action, result, err)
	}
	logging.AddAttrs(ctx, slog.String(logging.KeyUser, name(result)))
	if tokenErr := shown.check(result); tokenErr != nil {
		return caller{}, tokenErr
	}
	if err == nil && !a.Access.TakesLFS(result.Project) {
		err = errs.New(errs.Denied, forbidden)
	}
	if err != nil {
		return caller{}, shown.refusal(err)
	}
	logging.AddAttrs(ctx, slog.String(logging.KeyProject, result.Project.FullPath))
	return caller{GitResult: result, authorization: r.Header.Get("Authorization"), upload: action == access.ReceivePack, from: shown.from}, nil
}

// credentials tries LFS tokens, which are good here alone, and then what Git takes.
func (a *api) credentials(r *http.Request, username, password string, at time.Time) (credentials, error) {
	same := func(err error) error { return err }
	if grant, bound, err := a.Tokens.Verify(password, at); err == nil {
		c := credentials{grant: &grant, bound: bound, name: username, refusal: same, Abilities: access.Abilities{Download: true, Push: grant.Upload}}
		// With the key the rules find its owner: a removed key has none.
		c.Who = access.Who{UserID: grant.Actor.UserID, KeyID: max(grant.Actor.DeployKeyID, grant.From.KeyID)}
		if c.from = grant.From; c.from.TokenID != 0 {
			_, err = a.Auth.TokenByID(r.Context(), c.from.TokenID)
		}
		return c, err
	}
	id, err := a.Auth.Basic(r.Context(), auth.Credentials{Username: username, Password: password, Address: auth.Address(r)})
	return credentials{Who: id.Who(), Abilities: id.Abilities, refusal: id.Refusal, from: lfstoken.Origin{TokenID: id.Token.ID}}, err
}

// check refuses an LFS token that is not its owner's any more, or came with
// another name, and does not open other projects with it.
func (c credentials) check(result access.GitResult) error {
	switch u := result.User; {
	case c.grant == nil:
		return nil
	case u != nil && (!u.Active() || !c.bound(*u)), u == nil && result.Deploy == nil, !strings.EqualFold(c.name, name(result)):
		return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", lfstoken.ErrInvalid)
	case c.grant.ProjectID != result.Project.ID:
		return errs.New(errs.NotFound, notFound)
	}
	return nil
}

// name is the user name that goes with an LFS token.
func name(r access.GitResult) string {
	switch {
	case r.User != nil:
		return r.User.Username
	case r.Deploy != nil && !r.Deploy.Token:
		return "lfs+deploy-key-" + strconv.FormatInt(r.Deploy.ID, 10)
	}
	return ""
}

// anonymous judges a request without credentials: what everybody may download goes
// on; for all else, absent projects too, credentials are asked for.
func (a *api) anonymous(action string, result access.GitResult, err error) error {
	kind := errs.KindOf(err)
	switch {
	case err == nil && action == access.UploadPack && !a.Access.TakesLFS(result.Project):
		return errs.New(errs.Denied, forbidden)
	case err == nil && action == access.UploadPack:
		return nil
	case err == nil, kind == errs.Denied, kind == errs.NotFound:
		return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", err)
	}
	return err
}

// transfer returns the header that admits the transfers of a batch, and for how
// many seconds, 0 for as long as the caller's own credentials: people and deploy
// keys get a token for nothing but this project and direction.
func (a *api) transfer(c caller) (authorization string, seconds int64, err error) {
	username := name(c.GitResult)
	if username == "" {
		return c.authorization, 0, nil
	}
	grant := lfstoken.Grant{ProjectID: c.Project.ID, Upload: c.upload, From: c.from}
	if c.User != nil {
		grant.Actor.UserID = c.User.ID
	} else {
		grant.Actor.DeployKeyID = c.Deploy.ID
	}
	token, err := a.Tokens.Sign(grant, c.User)
	if err != nil {
		return "", 0, err
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+token)), int64(lfstoken.Lifetime.Seconds()), nil
}
