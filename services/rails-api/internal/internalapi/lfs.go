package internalapi

import (
	"net/http"
	"strconv"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/project"
)

// storedFile is an answer that workhorse sends: the key of a file in storage.
type storedFile string

// lfsObject answers GET /internal/lfs, by which gitaly puts large files into
// archives (wire/internal-api.md §3.9).
func (a *api) lfsObject(r *http.Request, _ []byte) (any, error) {
	for _, name := range []string{"oid", "gl_repository"} {
		if r.URL.Query().Get(name) == "" {
			return statusAnswer{http.StatusBadRequest, map[string]string{"error": name + " is missing"}}, nil
		}
	}
	nothing := errs.New(errs.NotFound, "404 Not found")
	id, ok := project.IDOf(r.URL.Query().Get("gl_repository"))
	if !ok {
		return nil, nothing
	}
	p, err := a.projects.ByID(r.Context(), id)
	if err == nil && !a.Access.TakesLFS(p) {
		err = nothing
	}
	var o lfs.Object
	if err == nil {
		o, err = lfs.New(a.DB).Get(r.Context(), p.ID, r.URL.Query().Get("oid"))
	}
	switch errs.KindOf(err) {
	case errs.NotFound, errs.Invalid:
		err = nothing
	}
	if err != nil {
		return nil, err
	}
	return storedFile(o.Key()), nil
}

// lfsRequest asks for a credential for the LFS endpoints of a project.
type lfsRequest struct {
	allowedRequest
	Operation string `json:"operation"` // download or upload
}

type lfsAnswer struct {
	Username  string `json:"username"`
	Token     string `json:"lfs_token"`
	Path      string `json:"repository_http_path"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// lfsAuthenticate answers POST /internal/lfs_authenticate. The caller has been
// allowed already; the rules are asked again, so that this answer stands alone.
// Whoever gets none is told that there is nothing (wire/internal-api.md §3.8).
func (a *api) lfsAuthenticate(r *http.Request, body []byte) (any, error) {
	nothing := statusAnswer{http.StatusNotFound, fault{Message: "404 Not found"}}
	req, err := decode[lfsRequest](body)
	if err != nil {
		return nil, err
	}
	action, ok := map[string]string{"download": access.UploadPack, "upload": access.ReceivePack}[req.Operation]
	if !ok {
		return nothing, nil
	}
	result, err := a.Access.Git(r.Context(), access.GitRequest{
		Who: who(req.allowedRequest), Abilities: access.All(), Action: action, Path: projectPath(req.Project), Protocol: "ssh", Any: true, Existing: true,
	})
	logResult(r.Context(), result)
	switch errs.KindOf(err) {
	case errs.NotFound, errs.Denied, errs.Invalid:
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	if !result.Project.LFSEnabled {
		return nothing, nil
	}
	g := lfstoken.Grant{ProjectID: result.Project.ID, Upload: req.Operation == "upload"}
	answer := lfsAnswer{Path: a.Site.Clone("http", result.Project.FullPath), ExpiresIn: int64(lfstoken.Lifetime.Seconds())}
	switch {
	case result.Deploy != nil && !result.Deploy.Token:
		g.Actor.DeployKeyID = result.Deploy.ID
		answer.Username = "lfs+deploy-key-" + strconv.FormatInt(result.Deploy.ID, 10)
	case result.User != nil:
		g.Actor.UserID, answer.Username = result.User.ID, result.User.Username
		g.From.KeyID = result.KeyID
	default:
		return nothing, nil
	}
	answer.Token, err = a.LFS.Sign(g, result.User)
	return answer, err
}
