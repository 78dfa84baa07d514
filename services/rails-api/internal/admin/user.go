package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/user"
)

func userCommands() []command {
	return []command{
		{words: "user list", help: "all accounts", run: listUsers, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.search, "search", "", "`TEXT`")
			fs.StringVar(&o.state, "state", "", "`STATE`")
		}},
		{words: "user create", args: "USERNAME EMAIL", help: "an account; prints its password", run: createUser, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.name, "name", "", "`NAME`")
			fs.BoolVar(&o.admin, "admin", false, "")
			fs.BoolVar(&o.password, "password-stdin", false, "")
		}},
		{words: "user block", args: "USERNAME", help: "refuse everything the account asks, from now on", run: setState(user.Blocked)},
		{words: "user unblock", args: "USERNAME", help: "let it in again", run: setState(user.Active)},
		{words: "user password", args: "USERNAME", help: "a new password; prints it", run: setPassword, flags: func(fs *flag.FlagSet, o *options) {
			fs.BoolVar(&o.password, "password-stdin", false, "")
		}},
	}
}

func listUsers(ctx context.Context, c *call) error {
	if err := c.out.head("id", "username", "state", "admin", "email", "name", "created_at"); err != nil {
		return err
	}
	return each(func(p postgres.Page) ([]user.User, int, error) {
		return user.New(c.DB).List(ctx, user.Filter{Search: c.search, State: user.State(c.state), People: true, Asc: true, Page: p})
	}, func(u user.User) error {
		return c.out.row(u.ID, u.Username, u.State, u.Admin, u.Email, u.Name, u.CreatedAt)
	})
}

func createUser(ctx context.Context, c *call) error {
	password, digest, err := c.newPassword()
	if err != nil {
		return err
	}
	u, err := user.New(c.DB).Create(ctx, user.NewUser{
		Username: c.arg(0), Email: c.arg(1), Name: cmp.Or(c.name, c.arg(0)), PasswordDigest: digest, Admin: c.admin,
	})
	if err != nil {
		return err
	}
	return c.showPassword(u, password)
}

func setPassword(ctx context.Context, c *call) error {
	u, err := c.user(ctx, c.arg(0))
	if err != nil {
		return err
	}
	if u.Bot {
		return errs.Newf(errs.Invalid, "%s is no person and has no password", u.Username)
	}
	password, digest, err := c.newPassword()
	if err != nil {
		return err
	}
	if u, err = user.New(c.DB).Update(ctx, u.ID, user.Changes{PasswordDigest: &digest}); err != nil {
		return err
	}
	return c.showPassword(u, password)
}

// newPassword reads a password from the input, or makes one.
func (c *call) newPassword() (plain, digest string, err error) {
	plain = rand.Text()
	if c.password {
		if plain, err = c.line("the password"); err != nil {
			return "", "", err
		}
	}
	digest, err = c.Passwords.Hash(plain)
	return plain, digest, err
}

// line reads a secret from standard input.
func (c *call) line(what string) (string, error) {
	const most = 4096
	text, err := io.ReadAll(io.LimitReader(c.In, most))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// showPassword prints an account, with the password only when it was made here.
func (c *call) showPassword(u user.User, plain string) error {
	if c.password {
		plain = ""
	}
	if err := c.out.head("id", "username", "password"); err != nil {
		return err
	}
	return c.out.row(u.ID, u.Username, plain)
}

func setState(state user.State) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		u, err := c.user(ctx, c.arg(0))
		if err != nil {
			return err
		}
		if err := user.New(c.DB).SetState(ctx, u.ID, state); err != nil {
			return err
		}
		if err := c.out.head("id", "username", "state"); err != nil {
			return err
		}
		return c.out.row(u.ID, u.Username, state)
	}
}

func (c *call) user(ctx context.Context, name string) (user.User, error) {
	u, err := user.New(c.DB).ByUsername(ctx, name)
	if errs.KindOf(err) == errs.NotFound {
		return u, errs.Newf(errs.NotFound, "there is no user %q", name)
	}
	return u, err
}
