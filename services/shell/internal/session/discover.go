package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/console"
)

// discover greets the user by name (wire/gitlab-shell.md §6.1).
func (r *Runner) discover(ctx context.Context, req Request) error {
	user, err := r.who(ctx, req)
	if err != nil {
		return &prefixError{prefix: "Failed to get username: ", err: err}
	}
	name := "Anonymous"
	if user.ID > 0 {
		name = "@" + console.Clean(user.Username)
		logging.AddAttrs(ctx, slog.String(logging.KeyUser, user.Username))
	}
	if _, err := io.WriteString(req.Stdout, "Welcome to GitLab, "+name+"!\n"); err != nil {
		return fmt.Errorf("write greeting: %w", err)
	}
	return nil
}

// who asks the API for the user behind an identity.
func (r *Runner) who(ctx context.Context, req Request) (internalapi.DiscoverResponse, error) {
	if req.KeyID == 0 && req.Username == "" {
		return internalapi.DiscoverResponse{}, errs.New(errs.Denied, "who='' is invalid")
	}
	return r.api.Discover(ctx, req.KeyID, req.Username)
}

// account names the user for calls that take a key, or else a number: key is the
// one, and user the other (wire/gitlab-shell.md §6.5).
func (r *Runner) account(ctx context.Context, req Request) (key internalapi.ID, user int64, err error) {
	if req.KeyID != 0 {
		return internalapi.ID(req.KeyID), 0, nil
	}
	u, err := r.who(ctx, req)
	return 0, u.ID, err
}
