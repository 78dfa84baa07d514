package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/command"
)

// lfsAuthenticate hands git-lfs an address and a short-lived login for it
// (wire/gitlab-shell.md §6.3). When the API gives none, git-lfs gets nothing and
// success: it then goes on without.
func (r *Runner) lfsAuthenticate(ctx context.Context, cmd command.Command, req Request) error {
	action := command.UploadPack
	if cmd.Args[0] == "upload" {
		action = command.ReceivePack
	}
	access, err := r.access(ctx, action, cmd.Repository, req)
	if err != nil {
		return err
	}
	var answer struct {
		Username  string `json:"username"`
		Token     string `json:"lfs_token"`
		BaseURL   string `json:"repository_http_path"`
		ExpiresIn int    `json:"expires_in"`
	}
	body := struct {
		Operation string         `json:"operation"`
		Project   string         `json:"project"`
		KeyID     internalapi.ID `json:"key_id,omitempty"`
		UserID    string         `json:"user_id,omitempty"`
	}{Operation: cmd.Args[0], Project: cmd.Repository, KeyID: internalapi.ID(req.KeyID)}
	if req.KeyID == 0 {
		body.UserID = strings.TrimPrefix(access.GLID, "user-")
	}
	err = r.api.Post(ctx, internalapi.PathLFSAuth, body, &answer)
	if err != nil {
		logging.AddAttrs(ctx, slog.String(logging.KeyError, err.Error()))
		return nil
	}
	type header struct {
		Authorization string
	}
	line, err := json.Marshal(struct {
		Header    header `json:"header"`
		Href      string `json:"href"`
		ExpiresIn int    `json:"expires_in,omitempty"`
	}{
		Header:    header{"Basic " + base64.StdEncoding.EncodeToString([]byte(answer.Username+":"+answer.Token))},
		Href:      answer.BaseURL + "/info/lfs",
		ExpiresIn: answer.ExpiresIn,
	})
	if err != nil {
		return fmt.Errorf("encode LFS login: %w", err)
	}
	if _, err := fmt.Fprintf(req.Stdout, "%s\n", line); err != nil {
		return fmt.Errorf("write LFS login: %w", err)
	}
	return nil
}
