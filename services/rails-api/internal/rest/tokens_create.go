package rest

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/token"
)

const (
	// maxTokenDays bounds the life of a token (security-baseline.md T1).
	maxTokenDays = 365
	// rotatedTokenDays is the life of a token after a rotation that does not say.
	rotatedTokenDays = 7
)

// createToken makes a token for any user, for administrators.
func (a *api) createToken(w http.ResponseWriter, r *http.Request) error {
	in, err := a.newToken(r, token.Scopes())
	if err != nil {
		return err
	}
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if u.Bot {
		return errBot()
	}
	in.UserID = u.ID
	return a.issue(w, r, in)
}

// errBot refuses a bot what only people have: a second credential would outlive its token.
func errBot() error { return forbidden("bots have no credential but their token") }

// createOwnToken makes a token for the caller, of the few scopes that are no more than what the caller's token can do.
func (a *api) createOwnToken(w http.ResponseWriter, r *http.Request) error {
	in, err := a.newToken(r, []string{"k8s_proxy", "self_rotate"})
	if err != nil {
		return err
	}
	if actor(r).Bot {
		return errBot()
	}
	in.UserID = actorID(r)
	return a.issue(w, r, in)
}

func (a *api) newToken(r *http.Request, allowed []string) (token.NewToken, error) {
	p := params(r)
	p.Require("name", "scopes")
	in := token.NewToken{Name: p.String("name"), Description: p.String("description"), ExpiresAt: p.Date("expires_at")}
	in.Scopes = scopeList(p, allowed)
	err := p.Err()
	if err != nil {
		return in, err
	}
	in.ExpiresAt, err = a.expiry(in.ExpiresAt, maxTokenDays)
	return in, err
}

// scopeList reads the scopes of a new token, each once, in the order of their names.
func scopeList(p *param.Set, allowed []string) []string {
	scopes := p.Strings("scopes")
	for _, scope := range scopes {
		if !slices.Contains(allowed, scope) {
			p.Fault("scopes", "does not have a valid value")
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// expiry checks the last day of a token; without one it is so many days from now.
func (a *api) expiry(day *time.Time, days int) (*time.Time, error) {
	if day == nil {
		return new(a.today().AddDate(0, 0, days)), nil
	}
	if !day.After(a.today()) {
		return nil, invalid("must be in the future", "expires_at")
	}
	if latest := a.today().AddDate(0, 0, maxTokenDays); day.After(latest) {
		return nil, invalid("must be before "+latest.AddDate(0, 0, 1).Format(time.DateOnly), "expires_at")
	}
	return day, nil
}

func (a *api) issue(w http.ResponseWriter, r *http.Request, in token.NewToken) error {
	t, plain, err := a.tokens.Create(r.Context(), in)
	if err != nil {
		return err
	}
	shape := a.tokenEntity(t)
	shape.Token = plain
	return writeJSON(w, http.StatusCreated, shape)
}

func (a *api) rotateOwnToken(w http.ResponseWriter, r *http.Request) error {
	return a.rotate(w, r, current(r).token)
}

func (a *api) rotateToken(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tokenInPath(r)
	if err != nil {
		return err
	}
	return a.rotate(w, r, t)
}

func (a *api) rotate(w http.ResponseWriter, r *http.Request, old token.Token) error {
	fresh, plain, err := a.rotated(r, old)
	if err != nil {
		return err
	}
	shape := a.tokenEntity(fresh)
	shape.Token = plain
	return writeJSON(w, http.StatusOK, shape)
}

// rotated revokes a token and makes one like it, both or neither.
func (a *api) rotated(r *http.Request, old token.Token) (fresh token.Token, plain string, err error) {
	p := params(r)
	day := p.Date("expires_at")
	if err := p.Err(); err != nil {
		return fresh, "", err
	}
	if !old.Active(a.Now()) {
		return fresh, "", badRequest("Token already revoked or expired")
	}
	if day, err = a.expiry(day, rotatedTokenDays); err != nil {
		return fresh, "", err
	}
	in := token.NewToken{UserID: old.UserID, Name: old.Name, Description: old.Description, Scopes: old.Scopes, ExpiresAt: day}
	return a.replaceToken(r.Context(), old.ID, in)
}

// lockToken makes rotations of one token wait for each other, so that it has one successor.
const lockToken = "SELECT NOT revoked FROM personal_access_tokens WHERE id = $1 FOR UPDATE"

func (a *api) replaceToken(ctx context.Context, old int64, in token.NewToken) (fresh token.Token, plain string, err error) {
	err = pgx.BeginFunc(ctx, a.DB, func(tx pgx.Tx) error {
		var usable bool
		if err := tx.QueryRow(ctx, lockToken, old).Scan(&usable); err != nil {
			return postgres.Error(err, "token")
		}
		if !usable {
			return badRequest("Token already revoked or expired")
		}
		tokens := token.New(tx)
		if err := tokens.Revoke(ctx, old); err != nil {
			return err
		}
		fresh, plain, err = tokens.Create(ctx, in)
		return err
	})
	return fresh, plain, err
}
