package auth

import (
	"context"
	"log/slog"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/deploytoken"
)

// Credentials are what a Git or LFS client sends by HTTP basic authentication.
type Credentials struct {
	Username, Password string
	Address            string // of the client; "" is not known
}

// jobUser is the user name of CI job tokens. It is exempt from the ban: all jobs
// of a runner come from one address.
const jobUser = "gitlab-ci-token"

// Basic returns who sends credentials for Git (wire/workhorse.md §10.2). Every
// refusal is errs.Unauthenticated, but errs.Denied for an address or a name that is
// banned. What the actor may not read is judged with Identity.Refusal.
func (a *Authenticator) Basic(ctx context.Context, c Credentials) (Identity, error) {
	if c.Username == jobUser { // row 2; there are no integrations for row 1
		return Identity{}, refuse(JobToken)
	}
	var id Identity
	err := a.guard.address(ctx, c.Address, func() (err error) {
		id, err = a.basic(ctx, c)
		return err
	})
	if reason := Reason(err); reason != "" {
		a.log.LogAttrs(ctx, slog.LevelInfo, "audit", slog.String("refused_login", reason), slog.String(logging.KeyUser, id.Name()),
			slog.String(logging.KeyRemoteAddr, c.Address))
	}
	return id, err
}

// basic tries the kinds of credentials in their order: access tokens (row 5),
// deploy tokens (6), passwords (7).
func (a *Authenticator) basic(ctx context.Context, c Credentials) (Identity, error) {
	if c.Username == "" || c.Password == "" {
		return Identity{}, refuse(Unknown)
	}
	for _, try := range []func(context.Context, Credentials) (Identity, error){a.accessToken, a.deployToken} {
		if id, err := try(ctx, c); Reason(err) != Unknown { // done, or a token that is not good: no need to try it as anything else
			return id, err
		}
	}
	return a.password(ctx, c)
}

func (a *Authenticator) accessToken(ctx context.Context, c Credentials) (Identity, error) {
	return a.token(ctx, c.Password)
}

func (a *Authenticator) deployToken(ctx context.Context, c Credentials) (Identity, error) {
	t, err := a.deploy.ByPlain(ctx, c.Username, c.Password)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return Identity{}, refuse(Unknown)
	case err != nil:
		return Identity{}, err
	case t.Expired(a.now()):
		return Identity{Deploy: &t}, refuse(Expired)
	}
	if err := a.deploy.Touch(ctx, t.ID, a.now().Truncate(time.Minute)); err != nil {
		return Identity{}, err
	}
	return Identity{Deploy: &t, Abilities: access.Abilities{Download: t.Has(deploytoken.ScopeReadRepository)}}, nil
}

// password: Git cannot ask for a second factor; who has one needs a token.
func (a *Authenticator) password(ctx context.Context, c Credentials) (Identity, error) {
	u, err := a.Login(ctx, c)
	if err == nil && u.TwoFactor {
		err = refuse(TokenRequired)
	}
	return Identity{User: u, Abilities: access.All()}, err
}
