// Package githttp answers workhorse's question about Git requests over HTTP: may
// this one go on, and where is the repository (wire/workhorse.md §2 and §10). It
// never sees a pack; workhorse moves those.
package githttp

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/gorilla/mux"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/site"
)

// Checker decides; access.Checker is one.
type Checker interface {
	Git(ctx context.Context, in access.GitRequest) (access.GitResult, error)
}

// Authenticator knows who sends basic credentials; auth.Authenticator is one.
type Authenticator interface {
	Basic(ctx context.Context, c auth.Credentials) (auth.Identity, error)
}

// Deps is what the handlers work with; every field is needed.
type Deps struct {
	Access  Checker
	Auth    Authenticator
	Gitaly  *gitaly.Client
	Notices *notice.Board
	Site    site.Site
	Secrets [][]byte // keys of workhorse's JWT, two while they change
	// ReceiveOptions are git settings for pushes: `receive.maxInputSize=…`.
	ReceiveOptions []string
	Log            *slog.Logger
	Now            func() time.Time
}

type api struct{ Deps }

// Patterns of the paths, on the decoded path: a repository, then a Git endpoint.
var (
	gitPath = regexp.MustCompile(`^/([^/].*)\.git/(info/refs|git-upload-pack|git-receive-pack)$`)
	bare    = regexp.MustCompile(`^/([^/].*/[^/]+)/info/refs$`)
)

// Routes registers the Git endpoints of every repository.
func Routes(r *mux.Router, d Deps) {
	a := &api{d}
	r.MatcherFunc(endpoint("info/refs")).Methods(http.MethodHead).HandlerFunc(headRefused).Name("/:repository.git/info/refs")
	r.MatcherFunc(endpoint("info/refs")).Methods(http.MethodGet).HandlerFunc(a.serve).Name("/:repository.git/info/refs")
	r.MatcherFunc(endpoint(access.UploadPack)).Methods(http.MethodPost).HandlerFunc(a.serve).Name("/:repository.git/git-upload-pack")
	r.MatcherFunc(endpoint(access.ReceivePack)).Methods(http.MethodPost).HandlerFunc(a.serve).Name("/:repository.git/git-receive-pack")
	r.MatcherFunc(withoutSuffix).Methods(http.MethodGet).HandlerFunc(redirect).Name("/:repository/info/refs")
}

func endpoint(name string) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool {
		m := gitPath.FindStringSubmatch(r.URL.Path)
		return m != nil && m[2] == name
	}
}

// question reads what is asked from the routed path, and of info/refs from the
// one parameter that names the service.
func question(r *http.Request) (path, action string) {
	m := gitPath.FindStringSubmatch(r.URL.Path)
	if m[2] != "info/refs" {
		return m[1], m[2]
	}
	services := r.URL.Query()["service"]
	if len(services) == 1 && (services[0] == access.UploadPack || services[0] == access.ReceivePack) {
		return m[1], services[0]
	}
	return m[1], ""
}

func headRefused(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
