// Package auth finds out who somebody is: by password or by personal access
// token. What they may do is package access's question. An unknown user and a
// wrong password take the same time (security-baseline T2).
package auth

import (
	"context"
	"errors"
	"slices"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// Authenticator checks credentials. It is safe for concurrent use.
type Authenticator struct {
	users  *user.Store
	tokens *token.Store
	now    func() time.Time
	memo   *memo
}

// New returns an Authenticator that reads users and tokens from db.
func New(db postgres.DBTX, now func() time.Time) *Authenticator {
	return &Authenticator{users: user.New(db), tokens: token.New(db), now: now, memo: newMemo(now)}
}

// Identity is somebody who proved who they are.
type Identity struct {
	User      user.User
	Token     token.Token      // zero after a password
	Abilities access.Abilities // what the credential admits for Git
}

// Why a credential was refused, as Reason tells.
const (
	Unknown = "unknown"
	Revoked = "revoked"
	Expired = "expired"
	Blocked = "blocked"
	// TokenRequired: the password is right, and not enough.
	TokenRequired = "token required"
)

type refusal struct{ reason string }

func (r refusal) Error() string { return "credential refused: " + r.reason }

func refuse(reason string) error {
	return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", refusal{reason})
}

// Reason returns why a credential was refused: Unknown, Revoked, Expired, Blocked
// or TokenRequired, and "" for any other error. It is for APIs that tell the owner.
func Reason(err error) string {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.reason
	}
	return ""
}

// Token returns the owner of a personal access token. Every refusal is
// errs.Unauthenticated.
func (a *Authenticator) Token(ctx context.Context, plain string) (Identity, error) {
	t, err := a.tokens.ByPlain(ctx, plain)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return Identity{}, refuse(Unknown)
	case err != nil:
		return Identity{}, err
	case t.Revoked:
		return Identity{}, refuse(Revoked)
	case t.Expired(a.now()):
		return Identity{}, refuse(Expired)
	}
	u, err := a.users.ByID(ctx, t.UserID)
	if err != nil {
		return Identity{}, err
	}
	if !u.Active() {
		return Identity{}, refuse(Blocked)
	}
	if t.LastUsedAt == nil || a.now().Sub(*t.LastUsedAt) > time.Minute {
		if err := a.tokens.Touch(ctx, t.ID, a.now()); err != nil {
			return Identity{}, err
		}
	}
	return Identity{User: u, Token: t, Abilities: abilities(t)}, nil
}

// abilities translates scopes for Git (wire/workhorse.md §10.2).
func abilities(t token.Token) access.Abilities {
	return access.Abilities{
		Download: t.Has(token.ScopeAPI, token.ScopeReadAPI, token.ScopeReadRepository, token.ScopeWriteRepository),
		Push:     t.Has(token.ScopeAPI, token.ScopeWriteRepository),
	}
}

// Login returns the active user with a login, which may be the e-mail address,
// and a password. Every refusal is errs.Unauthenticated.
func (a *Authenticator) Login(ctx context.Context, login, password string) (user.User, error) {
	u, err := a.users.ByLogin(ctx, login)
	if err != nil && !slices.Contains([]errs.Kind{errs.NotFound, errs.Invalid}, errs.KindOf(err)) {
		return user.User{}, err
	}
	if !a.memo.matches(u.PasswordDigest, password) {
		return user.User{}, refuse(Unknown)
	}
	if !u.Active() {
		return user.User{}, refuse(Blocked)
	}
	return u, nil
}

// Basic returns who sends HTTP basic credentials for Git: any user name with a
// personal access token as the password, or a login with its password
// (wire/workhorse.md §10.2, rows 5 and 7). Git cannot ask for a second factor: who
// has one needs a token. Every refusal is errs.Unauthenticated.
func (a *Authenticator) Basic(ctx context.Context, username, password string) (Identity, error) {
	if username == "" || password == "" {
		return Identity{}, refuse(Unknown)
	}
	id, err := a.Token(ctx, password)
	if err == nil || errs.KindOf(err) != errs.Unauthenticated {
		return id, err
	}
	if Reason(err) != Unknown { // a token, and not a good one: no need to try it as a password
		return Identity{}, err
	}
	u, err := a.Login(ctx, username, password)
	if err == nil && u.TwoFactor {
		return Identity{}, refuse(TokenRequired)
	}
	return Identity{User: u, Abilities: access.All()}, err
}
