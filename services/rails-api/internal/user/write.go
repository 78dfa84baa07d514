package user

import (
	"context"
	"net/mail"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
)

// NewUser describes an account to create.
type NewUser struct {
	Username, Name, Email string
	PasswordDigest        string
	Admin                 bool
	State                 State // "" is active
}

// Create makes an account and its personal namespace. It is errs.Invalid for a
// bad field and errs.Exists when the user name, its path or the address is in use.
func (s *Store) Create(ctx context.Context, in NewUser) (User, error) {
	if in.State == "" {
		in.State = Active
	}
	if err := check(in.Username, in.Name, in.Email); err != nil {
		return User{}, err
	}
	var u User
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		const insert = `INSERT INTO users (username, name, email, password_digest, admin, state) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`
		err := tx.QueryRow(ctx, insert, in.Username, in.Name, in.Email, in.PasswordDigest, in.Admin, in.State).Scan(&u.ID)
		if err != nil {
			return postgres.Error(err, what)
		}
		_, err = namespace.New(tx).Create(ctx, namespace.NewNamespace{
			Kind: namespace.User, OwnerID: &u.ID, Path: in.Username, Name: in.Name,
		})
		if err != nil {
			return err
		}
		u, err = New(tx).ByID(ctx, u.ID)
		return err
	})
	return u, postgres.Error(err, what)
}

// NewBot describes a user that carries the access token of a project or a group:
// one of the two is set.
type NewBot struct {
	Username, Name, Email  string
	ProjectID, NamespaceID int64
}

// CreateBot makes a user that is no person, has no password and no namespace, and
// returns its id.
func (s *Store) CreateBot(ctx context.Context, in NewBot) (int64, error) {
	if err := check(in.Username, in.Name, in.Email); err != nil {
		return 0, err
	}
	const insert = `
		INSERT INTO users (username, name, email, bot_project_id, bot_namespace_id)
		VALUES ($1, $2, $3, nullif($4, 0::bigint), nullif($5, 0::bigint)) RETURNING id`
	return postgres.One(ctx, s.db, what, pgx.RowTo[int64], insert, in.Username, in.Name, in.Email, in.ProjectID, in.NamespaceID)
}

func check(username, name, email string) error {
	if err := pathrule.Namespace(username, true); err != nil {
		return postgres.Invalid("username", err.Error())
	}
	if err := pathrule.Name(name); err != nil {
		return postgres.Invalid("name", err.Error())
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || strings.ContainsAny(email, " \t\r\n") {
		return postgres.Invalid("email", "is invalid")
	}
	return nil
}

// Changes are the fields Update sets; nil leaves a field as it is.
type Changes struct {
	Username, Name, Email *string
	PasswordDigest        *string
	Admin                 *bool
}

// Update changes an account. A new user name moves the personal namespace, and
// the old one leads there.
func (s *Store) Update(ctx context.Context, id int64, c Changes) (User, error) {
	var u User
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		old, err := New(tx).ByID(ctx, id)
		if err != nil {
			return err
		}
		u = old
		u.apply(c)
		if err := check(u.Username, u.Name, u.Email); err != nil {
			return err
		}
		const change = `UPDATE users SET username = $2, name = $3, email = $4, password_digest = $5, admin = $6, updated_at = now() WHERE id = $1`
		if err := postgres.Exec(ctx, tx, what, change, id, u.Username, u.Name, u.Email, u.PasswordDigest, u.Admin); err != nil {
			return err
		}
		if !u.Bot && (u.Username != old.Username || u.Name != old.Name) {
			_, err = namespace.New(tx).Update(ctx, u.NamespaceID, namespace.Changes{Path: &u.Username, Name: &u.Name})
		}
		return err
	})
	return u, postgres.Error(err, what)
}

func (u *User) apply(c Changes) {
	for _, f := range []struct{ field, value *string }{
		{&u.Username, c.Username}, {&u.Name, c.Name}, {&u.Email, c.Email}, {&u.PasswordDigest, c.PasswordDigest},
	} {
		if f.value != nil {
			*f.field = *f.value
		}
	}
	if c.Admin != nil {
		u.Admin = *c.Admin
	}
}

// SetState blocks, deactivates or activates an account, from its next request on.
func (s *Store) SetState(ctx context.Context, id int64, state State) error {
	return postgres.Exec(ctx, s.db, what, "UPDATE users SET state = $2, updated_at = now() WHERE id = $1", id, state)
}

// Delete removes an account with its keys, tokens and memberships; deploy keys
// that it added stay. It is errs.Conflict while the personal namespace holds projects.
func (s *Store) Delete(ctx context.Context, id int64) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM namespaces WHERE owner_id = $1 AND kind = 'user'", id); err != nil {
			return postgres.Error(err, what)
		}
		if _, err := tx.Exec(ctx, "UPDATE ssh_keys SET user_id = NULL WHERE user_id = $1 AND kind = 'deploy'", id); err != nil {
			return postgres.Error(err, what)
		}
		return postgres.Exec(ctx, tx, what, "DELETE FROM users WHERE id = $1", id)
	})
	if errs.KindOf(err) == errs.Conflict {
		return errs.Wrap(errs.Conflict, "the user still has projects", err)
	}
	return postgres.Error(err, what)
}
