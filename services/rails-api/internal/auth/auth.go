// Package auth finds out who somebody is: by password or by token. What they may
// do is package access's question. An unknown user and a wrong password take the
// same time (security-baseline T2), and who fails too often is not heard for a
// while (H7).
package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/deploytoken"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// Deps is what an Authenticator works with; every field is needed, but Passwords.
type Deps struct {
	DB        postgres.DBTX
	Guard     *Guard
	Passwords Passwords
	Log       *slog.Logger
	Now       func() time.Time
}

// Authenticator checks credentials. It is safe for concurrent use.
type Authenticator struct {
	users  *user.Store
	tokens *token.Store
	deploy *deploytoken.Store
	guard  *Guard
	log    *slog.Logger
	now    func() time.Time
	memo   *memo

	// Passwords makes the digests that Login compares with.
	Passwords Passwords
}

// New returns an Authenticator.
func New(d Deps) *Authenticator {
	return &Authenticator{
		users: user.New(d.DB), tokens: token.New(d.DB), deploy: deploytoken.New(d.DB), guard: d.Guard, log: d.Log, now: d.Now,
		memo: newMemo(d.Now, d.Passwords.nobody()), Passwords: d.Passwords,
	}
}

// Identity is somebody who proved who they are: a user, or a deploy token.
type Identity struct {
	User      user.User          // zero: a deploy token
	Token     token.Token        // zero after a password, and for a deploy token
	Deploy    *deploytoken.Token // nil: a user
	Abilities access.Abilities   // what the credential admits for Git
}

// Who names the actor for the access check.
func (i Identity) Who() access.Who {
	if i.Deploy != nil {
		return access.Who{DeployTokenID: i.Deploy.ID}
	}
	return access.Who{UserID: i.User.ID}
}

// Name returns the user name of the actor, for logs.
func (i Identity) Name() string {
	if i.Deploy != nil {
		return i.Deploy.Username
	}
	return i.User.Username
}

// Refusal returns what a refusal of the access check means for this credential.
// That of a bot or a deploy token is no credential at all where it may not read
// (wire/workhorse.md §10.2, rows 5 and 6), so that an absent project and a hidden
// one look the same.
func (i Identity) Refusal(err error) error {
	if errs.KindOf(err) == errs.NotFound && (i.Deploy != nil || i.User.Bot) {
		return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", errors.Join(refusal{Elsewhere}, err))
	}
	return err
}

// Why a credential was refused, as Reason tells.
const (
	Unknown = "unknown"
	Revoked = "revoked"
	Expired = "expired"
	Blocked = "blocked"
	// TokenRequired: the password is right, and not enough.
	TokenRequired = "token required"
	// JobToken: CI jobs have no tokens here yet.
	JobToken = "job token"
	// Elsewhere: a good credential, of another project.
	Elsewhere = "elsewhere"
)

type refusal struct{ reason string }

func (r refusal) Error() string { return "credential refused: " + r.reason }

func refuse(reason string) error {
	return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", refusal{reason})
}

// Reason returns why a credential was refused, one of the constants above, and ""
// for any other error. It is for APIs that tell the owner.
func Reason(err error) string {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.reason
	}
	return ""
}

// Token returns the owner of an access token that came from an address. Every
// refusal is errs.Unauthenticated, but errs.Denied for an address that is banned.
func (a *Authenticator) Token(ctx context.Context, plain, address string) (Identity, error) {
	var id Identity
	err := a.guard.address(ctx, address, func() (err error) {
		id, err = a.token(ctx, plain)
		return err
	})
	return id, err
}

// TokenByID is Token for who showed the access token before, to get another
// credential that ends with it.
func (a *Authenticator) TokenByID(ctx context.Context, id int64) (Identity, error) {
	t, err := a.tokens.OwnedByID(ctx, id)
	return a.owner(ctx, t, err)
}

func (a *Authenticator) token(ctx context.Context, plain string) (Identity, error) {
	t, err := a.tokens.ByPlain(ctx, plain)
	return a.owner(ctx, t, err)
}

// owner judges a token that was looked up.
func (a *Authenticator) owner(ctx context.Context, t token.Owned, err error) (Identity, error) {
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return Identity{}, refuse(Unknown)
	case err != nil:
		return Identity{}, err
	case t.Revoked:
		return Identity{}, refuse(Revoked)
	case t.Expired(a.now()):
		return Identity{}, refuse(Expired)
	case !t.Owner.Active():
		return Identity{}, refuse(Blocked)
	}
	if t.LastUsedAt == nil || a.now().Sub(*t.LastUsedAt) > time.Minute {
		if err := a.tokens.Touch(ctx, t.ID, a.now()); err != nil {
			return Identity{}, err
		}
	}
	return Identity{User: t.Owner, Token: t.Token, Abilities: abilities(t.Token)}, nil
}

// abilities translates scopes for Git (wire/workhorse.md §10.2).
func abilities(t token.Token) access.Abilities {
	return access.Abilities{
		Download: t.Has(token.ScopeAPI, token.ScopeReadAPI, token.ScopeReadRepository, token.ScopeWriteRepository),
		Push:     t.Has(token.ScopeAPI, token.ScopeWriteRepository),
	}
}

// Login returns the active user with a login, which may be the e-mail address,
// and a password. Every refusal is errs.Unauthenticated, but errs.Denied for a
// login that is banned.
func (a *Authenticator) Login(ctx context.Context, c Credentials) (user.User, error) {
	var u user.User
	err := a.guard.name(ctx, c.Address, c.Username, func() (err error) {
		u, err = a.login(ctx, c.Username, c.Password)
		return err
	})
	return u, err
}

func (a *Authenticator) login(ctx context.Context, login, password string) (user.User, error) {
	u, err := a.users.ByLogin(ctx, login)
	if err != nil && !slices.Contains([]errs.Kind{errs.NotFound, errs.Invalid}, errs.KindOf(err)) {
		return user.User{}, err
	}
	if !a.memo.matches(u.PasswordDigest, password) {
		return user.User{}, refuse(Unknown)
	}
	switch {
	case u.Bot:
		return user.User{}, refuse(Unknown)
	case !u.Active():
		return user.User{}, refuse(Blocked)
	}
	return u, nil
}
