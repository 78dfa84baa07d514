// Package lfshttp answers git-lfs: which objects to transfer and where, and locks
// on files (wire/workhorse.md §6.7; git-lfs, docs/api). It never sees an object:
// workhorse stores what is uploaded and sends what is downloaded, as told here.
package lfshttp

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/gorilla/mux"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/uploaded"
)

// Authenticator knows who sends basic credentials; auth.Authenticator is one.
type Authenticator interface {
	Basic(ctx context.Context, c auth.Credentials) (auth.Identity, error)
	TokenByID(ctx context.Context, id int64) (auth.Identity, error)
}

// Deps is what the handlers work with; every field is needed.
type Deps struct {
	DB      postgres.DBTX
	Access  *access.Checker
	Auth    Authenticator
	Tokens  *lfstoken.Signer
	Storage *storage.Store
	Uploads *uploaded.Receiver
	Site    site.Site
	Log     *slog.Logger
	Now     func() time.Time
}

type api struct {
	Deps
	files *lfs.Store
}

// handler answers a request about the repository whose path it gets, and the part
// of the URL that the route leaves open; or returns an error for fail.
type handler func(w http.ResponseWriter, r *http.Request, path, rest string) error

const (
	lfsPath = `/info/lfs/`
	objects = `/gitlab-lfs/objects/`
	oid     = `[0-9a-f]{64}`
)

// Routes registers the LFS endpoints of every repository.
func Routes(r *mux.Router, d Deps) {
	a := &api{Deps: d, files: lfs.New(d.DB)}
	for _, route := range []struct {
		method, name, pattern string
		handle                handler
	}{
		{http.MethodPost, "info/lfs/objects/batch", lfsPath + `(objects/batch)`, a.batch},
		{http.MethodPost, "info/lfs/objects", lfsPath + `(objects)`, onlyBatch},
		{http.MethodGet, "info/lfs/objects/:oid", lfsPath + `objects/([^/]+)`, onlyBatch},
		{http.MethodGet, "info/lfs/locks", lfsPath + `(locks)`, a.listLocks},
		{http.MethodPost, "info/lfs/locks", lfsPath + `(locks)`, a.createLock},
		{http.MethodPost, "info/lfs/locks/verify", lfsPath + `(locks/verify)`, a.verifyLocks},
		{http.MethodPost, "info/lfs/locks/:id/unlock", lfsPath + `locks/([0-9]{1,18})/unlock`, a.unlock},
		{http.MethodPut, "gitlab-lfs/objects/:oid/:size/authorize", objects + `(` + oid + `/[0-9]{1,18})/authorize`, a.authorize},
		{http.MethodPut, "gitlab-lfs/objects/:oid/:size", objects + `(` + oid + `/[0-9]{1,18})`, a.store},
		{http.MethodGet, "gitlab-lfs/objects/:oid", objects + `(` + oid + `)`, a.download},
		{http.MethodHead, "gitlab-lfs/objects/:oid", objects + `(` + oid + `)`, a.download},
	} {
		pattern := regexp.MustCompile(`^/([^/].*)\.git` + route.pattern + `$`)
		match := func(r *http.Request, _ *mux.RouteMatch) bool { return pattern.MatchString(r.URL.Path) }
		r.MatcherFunc(match).Methods(route.method).Handler(a.serve(pattern, route.handle)).Name("/:repository.git/" + route.name)
	}
}

// maxBody bounds what a client says; objects do not come here.
const maxBody = 1 << 20

func (a *api) serve(pattern *regexp.Regexp, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := pattern.FindStringSubmatch(r.URL.Path)
		err := a.offered()
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			err = h(w, r, m[1], m[2])
		}
		if err != nil {
			a.fail(w, r, err)
		}
	})
}
