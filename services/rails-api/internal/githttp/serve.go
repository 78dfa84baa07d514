package githttp

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitaly"
)

// mediaType marks an answer that workhorse acts on; it shows any other to the user.
const mediaType = "application/vnd.gitlab-workhorse+json"

// serve answers one question, in the order of wire/workhorse.md §10.1.
func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	path, action := question(r)
	in := access.GitRequest{Action: action, Path: path, Protocol: "http", Any: true, Told: r.Method == http.MethodPost, Abilities: access.Abilities{Download: true}}
	logging.AddAttrs(r.Context(), slog.String(logging.KeyCommand, action), slog.String("client_ip", auth.Address(r)))
	username, password, signedIn := r.BasicAuth()
	var id auth.Identity
	if signedIn {
		var err error
		id, err = a.Auth.Basic(r.Context(), auth.Credentials{Username: username, Password: password, Address: auth.Address(r)})
		if err != nil {
			a.fail(w, r, err)
			return
		}
		in.Who, in.Abilities = id.Who(), id.Abilities
		logging.AddAttrs(r.Context(), slog.String(logging.KeyUser, id.Name()))
	}
	if err := a.trusted(r); signedIn && err != nil {
		a.fail(w, r, err)
		return
	}
	result, err := a.Access.Git(r.Context(), in)
	if result.Project.ID != 0 && (err == nil || signedIn) {
		logging.AddAttrs(r.Context(), slog.String(logging.KeyProject, result.Project.FullPath))
	}
	if signedIn {
		err = id.Refusal(err)
	} else {
		err = a.anonymous(r, action, err)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if err := a.Notices.Pin(r.Context(), result, path, "http"); err != nil {
		a.Log.WarnContext(r.Context(), "notice not kept", slog.Any(logging.KeyError, err))
	}
	a.permit(w, r, result)
}

// anonymous judges a request without credentials: what everybody may fetch goes on
// if workhorse asks; for all else, absent projects too, credentials are asked for.
func (a *api) anonymous(r *http.Request, action string, err error) error {
	kind := errs.KindOf(err)
	switch {
	case err == nil && action == access.UploadPack:
		return a.trusted(r)
	case err == nil, kind == errs.Denied, kind == errs.NotFound:
		return errs.Wrap(errs.Unauthenticated, "401 Unauthorized", err)
	}
	return err
}

// trusted checks that workhorse asks, since its answer opens the repository.
func (a *api) trusted(r *http.Request) error {
	err := apijwt.Verify(a.Secrets, apijwt.WorkhorseIssuer, r.Header.Get(apijwt.WorkhorseHeader), a.Now())
	if err != nil {
		return errs.Wrap(errs.Denied, apijwt.Refusal("Nil JSON web token or bad signature", err), err)
	}
	return nil
}

// permission is the positive answer (wire/workhorse.md §2.3).
type permission struct {
	GLID             string          `json:"GL_ID"`
	GLUsername       string          `json:"GL_USERNAME"`
	GLRepository     string          `json:"GL_REPOSITORY"`
	ShowAllRefs      bool            `json:"ShowAllRefs"`
	NeedAudit        bool            `json:"NeedAudit"`
	ProjectID        int64           `json:"ProjectID"`
	RootNamespaceID  int64           `json:"RootNamespaceID"`
	Repository       wire.Repository `json:"Repository"`
	GitConfigOptions []string        `json:"GitConfigOptions"`
	GitalyServer     gitaly.Handle   `json:"GitalyServer"`
}

func (a *api) permit(w http.ResponseWriter, r *http.Request, result access.GitResult) {
	p := result.Project
	who := gitaly.Caller{Address: auth.Address(r)}
	if id := result.GLID(); id != "" {
		who.ID, who.Username = id, result.GLUsername()
	}
	server, err := a.Gitaly.Handle(p.Storage, who)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer := permission{
		GLID: result.GLID(), GLUsername: result.GLUsername(), GLRepository: p.GLRepository(), ProjectID: p.ID, RootNamespaceID: p.Namespace.RootID(),
		Repository: gitaly.WireRepository(p), GitConfigOptions: append([]string{}, a.ReceiveOptions...), GitalyServer: server,
	}
	body, err := json.Marshal(answer)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	if _, err := w.Write(body); err != nil {
		a.Log.DebugContext(r.Context(), "workhorse left before its answer", slog.Any(logging.KeyError, err))
	}
}

var _ Authenticator = (*auth.Authenticator)(nil)
