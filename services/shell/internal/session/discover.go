package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/console"
)

// discover greets the user by name (wire/gitlab-shell.md §6.1).
func (r *Runner) discover(ctx context.Context, req Request) error {
	user, err := r.api.Discover(ctx, req.KeyID)
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
