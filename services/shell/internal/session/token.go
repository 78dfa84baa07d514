package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/command"
	"gitsplit/services/shell/internal/console"
)

const (
	tokenUsage       = "Usage: personal_access_token <name> <scope1[,scope2,...]> [ttl_days]"
	tokenDefaultDays = 30
)

// Tokens are the rules of personal_access_token.
type Tokens struct {
	// Enabled makes it a command at all.
	Enabled bool
	// Scopes are those that may be asked for; none means all.
	Scopes []string
}

// tokenRequest is the body of the API's call (wire/internal-api.md §3.11).
type tokenRequest struct {
	KeyID     internalapi.ID `json:"key_id,omitempty"`
	UserID    int64          `json:"user_id,omitempty"`
	Name      string         `json:"name"`
	Scopes    []string       `json:"scopes"`
	ExpiresAt string         `json:"expires_at"`
}

// personalToken makes a personal access token and prints it
// (wire/gitlab-shell.md §6.5).
func (r *Runner) personalToken(ctx context.Context, cmd command.Command, req Request) error {
	if !r.tokens.Enabled {
		return &command.UnknownError{Line: req.Line}
	}
	body, err := r.tokenRequest(cmd.Args)
	if err != nil {
		return err
	}
	if body.KeyID, body.UserID, err = r.account(ctx, req); err != nil {
		return err
	}
	var answer struct {
		Success   bool     `json:"success"`
		Message   string   `json:"message"`
		Token     string   `json:"token"`
		Scopes    []string `json:"scopes"`
		ExpiresAt string   `json:"expires_at"`
	}
	if err := r.api.Post(ctx, internalapi.PathPersonalToken, body, &answer); err != nil {
		return err
	}
	if !answer.Success {
		return errs.New(errs.Denied, answer.Message)
	}
	_, err = fmt.Fprint(req.Stdout, console.Clean(fmt.Sprintf("Token:   %s\nScopes:  %s\nExpires: %s\n",
		answer.Token, strings.Join(answer.Scopes, ","), answer.ExpiresAt)))
	if err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	return nil
}

func (r *Runner) tokenRequest(args []string) (tokenRequest, error) {
	if len(args) != 2 && len(args) != 3 {
		return tokenRequest{}, errs.New(errs.Invalid, tokenUsage)
	}
	days := tokenDefaultDays
	if len(args) == 3 {
		n, err := strconv.ParseUint(args[2], 10, 16)
		if err != nil {
			return tokenRequest{}, errs.Newf(errs.Invalid, "Invalid value for days_ttl: '%s'", args[2])
		}
		days = int(n) + 1
	}
	scopes := strings.Split(args[1], ",")
	if len(r.tokens.Scopes) > 0 {
		scopes = slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(r.tokens.Scopes, s) })
	}
	return tokenRequest{
		Name:      args[0],
		Scopes:    scopes,
		ExpiresAt: r.now().AddDate(0, 0, days).Format(time.DateOnly),
	}, nil
}
