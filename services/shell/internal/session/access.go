package session

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/command"
	"gitsplit/services/shell/internal/console"
)

const maxLogged = 255 // bytes of a repository name that goes to the log as typed

// access asks whether the action may be done with the repository. Messages for the
// user are shown whatever the answer is; what is not a clear yes is a no.
func (r *Runner) access(ctx context.Context, action command.Name, repository string, req Request) (internalapi.AllowedResponse, error) {
	started := time.Now()
	answer, err := r.api.Allowed(ctx, internalapi.AllowedRequest{
		Action:        string(action),
		Project:       repository,
		Changes:       internalapi.AnyChanges,
		Protocol:      "ssh",
		KeyID:         internalapi.ID(req.KeyID),
		Username:      req.Username,
		NamespacePath: req.Namespace,
		CheckIP:       clientIP(req.RemoteAddr),
	})
	project := answer.GLProjectPath
	if project == "" {
		project = strings.ToValidUTF8(repository[:min(len(repository), maxLogged)], "")
	}
	took := time.Since(started)
	r.phase("access", took)
	logging.AddAttrs(ctx,
		slog.Float64("access_ms", logging.Milliseconds(took)),
		slog.String(logging.KeyUser, answer.GLUsername),
		slog.String(logging.KeyProject, project))
	if err != nil {
		return answer, err
	}
	if err := console.Info(req.Stderr, answer.ConsoleMessages); err != nil {
		return answer, err
	}
	switch {
	case !answer.Status:
		return answer, errs.New(errs.Denied, answer.Message)
	case answer.Gitaly == nil || answer.Gitaly.Address == "":
		return answer, errs.New(errs.Internal, "no gitaly_address given")
	}
	return answer, nil
}

// clientIP drops the port of an address.
func clientIP(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
