package admin

import (
	"context"
	"flag"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/token"
)

func tokenCommands() []command {
	return []command{
		{words: "token list", args: "[USERNAME]", help: "access tokens, of one account or of all", run: listTokens},
		{words: "token create", args: "USERNAME NAME", help: "an access token; prints it, once", run: createToken, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.scopes, "scopes", token.ScopeAPI, "`SCOPE,…`")
			fs.StringVar(&o.expires, "expires", "", "`YYYY-MM-DD`")
		}},
		{words: "token revoke", args: "ID", help: "end an access token", destroys: true, run: revokeToken},
	}
}

func listTokens(ctx context.Context, c *call) error {
	filter := token.Filter{Now: c.Now()}
	if name := c.arg(0); name != "" {
		u, err := c.user(ctx, name)
		if err != nil {
			return err
		}
		filter.UserID = u.ID
	}
	if err := c.out.head("id", "user_id", "name", "scopes", "active", "expires_at", "last_used_at"); err != nil {
		return err
	}
	return each(func(p postgres.Page) ([]token.Token, int, error) {
		filter.Page = p
		return token.New(c.DB).List(ctx, filter)
	}, func(t token.Token) error {
		return c.out.row(t.ID, t.UserID, t.Name, t.Scopes, t.Active(c.Now()), t.ExpiresAt, t.LastUsedAt)
	})
}

func createToken(ctx context.Context, c *call) error {
	u, err := c.user(ctx, c.arg(0))
	if err != nil {
		return err
	}
	expires := c.Now().Add(token.MaxLifetime).UTC().Truncate(24 * time.Hour)
	if c.expires != "" {
		if expires, err = time.Parse(time.DateOnly, c.expires); err != nil {
			return errs.Newf(errs.Invalid, "--expires: %q is no day, such as 2030-12-31", c.expires)
		}
	}
	if latest := c.Now().Add(token.MaxLifetime); !expires.After(c.Now()) || expires.After(latest) {
		return errs.Newf(errs.Invalid, "--expires: must be after today and not after %s", latest.UTC().Format(time.DateOnly))
	}
	t, plain, err := token.New(c.DB).Create(ctx, token.NewToken{
		UserID: u.ID, Name: c.arg(1), Scopes: strings.Split(c.scopes, ","), ExpiresAt: &expires,
	})
	if err != nil {
		return err
	}
	if err := c.out.head("id", "token", "scopes", "expires_at"); err != nil {
		return err
	}
	return c.out.row(t.ID, plain, t.Scopes, t.ExpiresAt)
}

func revokeToken(ctx context.Context, c *call) error {
	id, err := c.id(0)
	if err != nil {
		return err
	}
	return token.New(c.DB).Revoke(ctx, id)
}

// id reads an argument that is the number of a record.
func (c *call) id(i int) (int64, error) {
	id, err := strconv.ParseInt(c.arg(i), 10, 64)
	if err != nil || id < 1 {
		return 0, &UsageError{Text: strconv.Quote(c.arg(i)) + " is no id; the lists show them"}
	}
	return id, nil
}
