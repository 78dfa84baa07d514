package app

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/kit/secret"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// seed makes the account root when there is no account at all, with the password
// and the token that the operator put into files.
func (b *base) seed(ctx context.Context) error {
	any, err := user.New(b.db).Any(ctx)
	if err != nil || any || b.cfg.InitialRootPasswordFile == "" {
		return err
	}
	password, err := secret.Read(b.cfg.InitialRootPasswordFile, 1)
	if err != nil {
		return fmt.Errorf("initial root password: %w", err)
	}
	digest, err := auth.Passwords{}.Hash(string(password))
	if err != nil {
		return fmt.Errorf("initial root password: %w", err)
	}
	err = pgx.BeginFunc(ctx, b.db, func(tx pgx.Tx) error {
		root, err := user.New(tx).Create(ctx, user.NewUser{
			Username: "root", Name: "Administrator", Email: "admin@example.com", PasswordDigest: digest, Admin: true,
		})
		if err != nil {
			return err
		}
		return b.seedToken(ctx, tx, root.ID)
	})
	if errs.KindOf(err) == errs.Exists { // another process was faster
		return nil
	}
	if err == nil {
		b.log.InfoContext(ctx, "made the first account: root")
	}
	return err
}

func (b *base) seedToken(ctx context.Context, tx pgx.Tx, userID int64) error {
	if b.cfg.InitialRootTokenFile == "" {
		return nil
	}
	plain, err := secret.Read(b.cfg.InitialRootTokenFile, minInitialToken)
	if err != nil {
		return fmt.Errorf("initial root token: %w", err)
	}
	_, _, err = token.New(tx).Create(ctx, token.NewToken{
		UserID: userID, Name: "initial root token", Scopes: []string{token.ScopeAPI}, Plain: string(plain),
	})
	return err
}

// minInitialToken is the length of a secret that nobody guesses.
const minInitialToken = 20
