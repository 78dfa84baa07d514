package rest

import (
	"errors"
	"net/http"
	"path"
	"strings"

	"github.com/gorilla/mux"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/repo"
)

// webRoutes are what is fetched by its web address, below "/-/" of a project. The credentials are those of the API; what one may not
// see is 404 here too. Errors are plain text.
func (a *api) webRoutes() []route {
	const project = "/{id:[^/]+/.+?}/-"
	return []route{
		{"GET", "/-/project/{id:[0-9]+}/uploads/{secret:[0-9a-f]{32}}/{name}", anyone, a.getAttachment},
		{"GET", project + "/raw/{rest:.+}", anyone | readRepository, a.webRaw},
		{"GET", project + "/archive/{ref:.+}/{name:[^/]+}", anyone | readRepository, a.webArchive},
		{"GET", project + "/commit/{sha:[^/]+}.{kind:diff|patch}", anyone | readRepository, a.webCommit},
	}
}

// isWeb reports whether a request came by a web address.
func isWeb(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, prefix+"/") }

// webRepository is repository for a web address: what moved is found at its new one.
func (a *api) webRepository(r *http.Request) (project.Project, *repo.Repo, error) {
	p, git, err := a.repository(r, access.DownloadCode)
	if moved, ok := errors.AsType[*failure](err); ok && moved.location != "" {
		moved.location = a.web(p.FullPath) + strings.TrimPrefix(r.URL.EscapedPath(), "/"+mux.Vars(r)["id"])
		if query := withoutTokens(r.URL.Query()); len(query) > 0 {
			moved.location += "?" + query.Encode()
		}
	}
	return p, git, err
}

// rawLimited is what those read who ask for the same file too often.
const rawLimited = "You cannot access the raw file. Please wait a minute."

// webRaw sends a file by its web address, in which the ref comes before the path.
func (a *api) webRaw(w http.ResponseWriter, r *http.Request) error {
	p, git, err := a.webRepository(r)
	if err != nil {
		return err
	}
	if err := a.limited(r, "raw_blob", a.Limits.RawFiles, rawLimited, p.FullPath, segment(r, "rest")); err != nil {
		return err
	}
	commit, name, err := splitRef(r, git, segment(r, "rest"))
	if err != nil {
		return missing(err, "File")
	}
	clean, ok := cleanPath(name)
	if !ok || clean == "" {
		return notFound("File")
	}
	id, err := git.BlobAt(r.Context(), commit, clean)
	if err != nil {
		return missing(err, "File")
	}
	return a.sendBlob(w, r, p, id, path.Base(clean))
}

// maxRefParts bounds the parts of a ref in front of a path.
const maxRefParts = 8

// splitRef finds the ref at the beginning of "feat/a/README.md": the shortest that there is. No branch is another one's directory, so
// only a tag beside a branch can make that ambiguous.
func splitRef(r *http.Request, git *repo.Repo, both string) (commit, name string, err error) {
	parts := strings.Split(both, "/")
	for n := 1; n < len(parts) && n <= maxRefParts; n++ {
		c, err := git.Resolve(r.Context(), strings.Join(parts[:n], "/"))
		if err == nil {
			return c.GetId(), strings.Join(parts[n:], "/"), nil
		}
		if !is(err, errs.NotFound) {
			return "", "", err
		}
	}
	return "", "", errs.New(errs.NotFound, "no such revision")
}

// webArchive sends an archive under the name in the address: "main/app-main.zip".
func (a *api) webArchive(w http.ResponseWriter, r *http.Request) error {
	stem, ending, ok := archiveEnding(segment(r, "name"))
	dir, clean := cleanPath(params(r).String("path"))
	p, git, err := a.webRepository(r)
	switch {
	case err != nil:
		return err
	case !ok || !clean:
		return notFound("File")
	}
	ref := segment(r, "ref")
	named := oneSegment(p.Path+"-"+ref) == stem
	return a.sendArchive(w, r, archiveOf{project: p, git: git, ref: ref, ending: ending, path: dir, withID: !named})
}

// webCommit sends the change of a commit as a diff or a patch.
func (a *api) webCommit(w http.ResponseWriter, r *http.Request) error {
	p, git, err := a.webRepository(r)
	if err != nil {
		return err
	}
	c, err := git.Resolve(r.Context(), segment(r, "sha"))
	if err != nil {
		return missing(err, "Commit")
	}
	kind := segment(r, "kind")
	if unchanged(w, r, weakTag(c.GetId(), kind)) {
		return nil
	}
	content(w.Header(), c.GetId()+"."+kind)
	if kind == "patch" {
		return a.handover.Patch(w.Header(), caller(r), p, repo.Before(c), c.GetId())
	}
	return a.handover.Diff(w.Header(), caller(r), p, repo.Before(c), c.GetId())
}
