package internalapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/project"
)

// allowedRequest adds what other callers than ours may send.
type allowedRequest struct {
	wire.AllowedRequest
	Identifier string `json:"identifier"`
}

// allowed answers POST /internal/allowed for both of its callers: gitlab-shell,
// which names a path and does not know the changes yet, and gitaly, which names a
// repository and every reference (wire/internal-api.md §3.1).
func (a *api) allowed(r *http.Request, body []byte) (any, error) {
	ctx := r.Context()
	req, err := decode[allowedRequest](body)
	if err != nil {
		return nil, err
	}
	in, err := gitRequest(req)
	if err != nil {
		return nil, err
	}
	logging.AddAttrs(ctx, slog.String(logging.KeyCommand, in.Action), slog.String(logging.KeyChanges, kindOfChanges(in)),
		slog.String("client_ip", req.CheckIP))
	if a.tooMany(ctx, req, in) {
		return statusAnswer{http.StatusTooManyRequests, tooManyRequests()}, nil
	}
	result, err := a.Access.Git(ctx, in)
	logResult(ctx, result)
	if err != nil {
		return refusal(ctx, err)
	}
	if err := a.Notices.Pin(ctx, result, in.Path, in.Protocol); err != nil {
		a.Log.WarnContext(ctx, "notice not kept", slog.Any(logging.KeyError, err))
	}
	return a.permission(result)
}

// tooMany counts an access check twice: by who asks, and by the address they ask
// from (wire/internal-api.md §9).
func (a *api) tooMany(ctx context.Context, req allowedRequest, in access.GitRequest) bool {
	what := []string{in.Action, req.Project, req.GLRepository}
	scopes := [][]string{append(what[:len(what):len(what)], fmt.Sprintf("%+v", in.Who))}
	if req.CheckIP != "" {
		scopes = append(scopes, append(what[:len(what):len(what)], req.CheckIP))
	}
	over, err := a.Limiter.Over(ctx, "gitlab_shell_operation", a.OperationLimit, scopes...)
	if err != nil {
		a.Log.WarnContext(ctx, "access checks not counted", slog.Any(logging.KeyError, err))
	}
	return over
}

// tooManyRequests is the body of a 429, whose message is an object (wire/internal-api.md §1.6).
func tooManyRequests() any {
	return map[string]map[string]string{"message": {"error": "This endpoint has been requested too many times. Try again later."}}
}

func kindOfChanges(in access.GitRequest) string {
	if in.Any {
		return wire.AnyChanges
	}
	return "refs"
}

func logResult(ctx context.Context, r access.GitResult) {
	if r.User != nil {
		logging.AddAttrs(ctx, slog.String(logging.KeyUser, r.User.Username))
	}
	if r.Deploy != nil {
		kind := map[bool]string{true: "deploy_token_id", false: "deploy_key_id"}[r.Deploy.Token]
		logging.AddAttrs(ctx, slog.Int64(kind, r.Deploy.ID))
	}
	if r.Project.ID != 0 {
		logging.AddAttrs(ctx, slog.String(logging.KeyProject, r.Project.FullPath))
	}
}

func gitRequest(req allowedRequest) (access.GitRequest, error) {
	in := access.GitRequest{
		Who: who(req), Abilities: access.All(), Action: req.Action, Path: projectPath(req.Project), Protocol: req.Protocol,
		Any: req.Changes == wire.AnyChanges, Within: req.NamespacePath,
	}
	if req.GLRepository != "" {
		id, ok := project.IDOf(req.GLRepository)
		if !ok {
			return in, errs.Newf(errs.NotFound, "Invalid GL Repository %q", req.GLRepository)
		}
		in.ProjectID, in.Path = id, ""
	}
	if err := clientContext(req.ClientContext); err != nil {
		return in, err
	}
	in.Quarantine, in.RelativePath = quarantine(req.Env), req.RelativePath
	if in.Any {
		return in, nil
	}
	var err error
	in.Changes, err = access.ParseChanges(req.Changes)
	return in, err
}

func who(req allowedRequest) access.Who {
	if req.KeyID == 0 && req.UserID == 0 && req.Identifier != "" {
		return identified(req.Identifier)
	}
	return access.Who{KeyID: int64(req.KeyID), UserID: int64(req.UserID), Username: req.Username}
}

// identified reads `key-7`, `user-1`, `deploy-token-3` or `username-ada` (wire/internal-api.md §4).
func identified(identifier string) access.Who {
	if name, ok := strings.CutPrefix(identifier, "username-"); ok {
		return access.Who{Username: name}
	}
	at := strings.LastIndexByte(identifier, '-') + 1
	id, ok := number(identifier[at:])
	switch kind := identifier[:at]; {
	case ok && kind == "key-":
		return access.Who{KeyID: id}
	case ok && kind == "user-":
		return access.Who{UserID: id}
	case ok && kind == "deploy-token-":
		return access.Who{DeployTokenID: id}
	}
	return access.Who{}
}

// projectPath takes one leading slash and one `.git` from what a user typed.
func projectPath(typed string) string {
	return strings.TrimSuffix(strings.TrimPrefix(typed, "/"), ".git")
}

// clientContext checks that gitaly's context, which nothing here needs, is what it should be.
func clientContext(text string) error {
	if text == "" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	var object map[string]any
	if err != nil || json.Unmarshal(raw, &object) != nil {
		return badRequest("malformed gitaly_client_context_bin")
	}
	return nil
}

func quarantine(env string) gitaly.Quarantine {
	var e wire.PushEnv
	if json.Unmarshal([]byte(env), &e) != nil { // as GitLab: then there is none
		return gitaly.Quarantine{}
	}
	return gitaly.Quarantine{ObjectDirectory: e.ObjectDirectory, Alternates: e.AlternateObjectDirectories}
}

// refusal turns a decision into status and text; what is no decision stays an error.
func refusal(ctx context.Context, err error) (any, error) {
	text := errs.Message(err)
	status, ok := map[errs.Kind]int{
		errs.Denied:   http.StatusUnauthorized, // deliberately not 403, so that old clients show the text
		errs.NotFound: http.StatusNotFound, errs.Invalid: http.StatusUnprocessableEntity, errs.Timeout: http.StatusServiceUnavailable,
	}[errs.KindOf(err)]
	if !ok {
		return nil, err
	}
	logging.AddAttrs(ctx, slog.String("refusal", text))
	return statusAnswer{status, refused{Message: text}}, nil
}

const expirySoon = 7 * 24 * time.Hour

// permission is the positive answer: who, what, and where gitaly serves it.
func (a *api) permission(r access.GitResult) (any, error) {
	p := r.Project
	storage, err := a.Gitaly.Storage(p.Storage)
	if err != nil {
		return nil, err
	}
	answer := wire.AllowedResponse{
		Status: true, GLRepository: p.GLRepository(), GLProjectPath: p.FullPath, GLProjectID: p.ID, GLRootNamespaceID: p.Namespace.RootID(),
		GLID: r.GLID(), GLUsername: r.GLUsername(), GitConfigOptions: a.gitConfig(), ConsoleMessages: []string{},
		Gitaly: &wire.Gitaly{
			Repository: wire.Repository{
				StorageName: p.Storage, RelativePath: p.DiskPath, GitAlternateObjectDirectories: []string{},
				GLRepository: p.GLRepository(), GLProjectPath: p.FullPath,
			},
			Address: storage.Address, Token: storage.Token, Features: map[string]string{},
		},
	}
	switch {
	case r.Deploy != nil && !r.Deploy.Token:
		answer.GLKeyType, answer.GLKeyID = "deploy_key", r.Deploy.ID
	case r.User != nil && r.KeyID != 0:
		answer.GLKeyType, answer.GLKeyID = "key", r.KeyID
	}
	if r.KeyEnds != nil && r.KeyEnds.Sub(a.Now()) < expirySoon {
		answer.ConsoleMessages = append(answer.ConsoleMessages, "INFO: Your SSH key is expiring soon. Please generate a new key.")
	}
	return answer, nil
}

func (a *api) gitConfig() []string {
	return append([]string{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"}, a.ReceiveOptions...)
}
