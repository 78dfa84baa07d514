// Package rest is the public REST API, version 4, in the shape of wire/rest-api.md: it translates between HTTP and the domain packages
// and decides nothing itself. Who may do what is asked of the access package, with every request.
//
// One file holds the routes and handlers of one resource. Handlers read their parameters first (package param), then load what the path
// names through find.go, which is where a thing that may not be seen becomes a thing that does not exist, and answer with a shape of
// package entity.
package rest

import (
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/attachment"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/bot"
	"gitsplit/services/rails-api/internal/deploytoken"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/handover"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/sshca"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/twofactor"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/user"
)

const prefix = "/api/v4"

// Deps is what the API works with; every field is needed.
type Deps struct {
	DB           *pgxpool.Pool
	Redis        *redis.Client
	Access       *access.Checker
	Auth         *auth.Authenticator
	TwoFactor    *twofactor.Service
	Gitaly       *gitaly.Client
	Repositories *projectrepo.Service
	// Files keeps attachments, of MaxAttachment bytes at most (0 is no limit); Uploads reads them from workhorse.
	Files         *storage.Store
	Uploads       *uploaded.Receiver
	MaxAttachment int64
	Limits        Limits
	Downloads     string   // directory on workhorse's host where archives are kept; "" keeps none
	ExternalURL   *url.URL // the one public address; clone URLs and Link headers follow from it
	SSHHost       string
	SSHPort       int
	SSHUser       string
	Version       string // as GET version tells it
	Revision      string
	Log           *slog.Logger
	Now           func() time.Time
}

// Limits are how often the same may be asked for within a minute; 0 is any number.
type Limits struct {
	Users     int64 // anything, by one user
	Addresses int64 // anything, from one address without a token in a header
	RawFiles  int64 // a file by its web address, by everybody together
	Archives  int64 // archives of a project, by one user or address
}

// api holds the dependencies and the stores of the handlers.
type api struct {
	Deps
	site         site.Site
	users        *user.Store
	keys         *key.Store
	cas          *sshca.Store
	tokens       *token.Store
	deployTokens *deploytoken.Store
	bots         *bot.Store
	namespaces   *namespace.Store
	projects     *project.Store
	members      *member.Store
	protections  *protection.Store
	handover     *handover.Service
	limiter      *ratelimit.Limiter
	attachments  *attachment.Store
}

// handler serves one request; what it returns is written by serve. It writes nothing before it can no longer fail.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one row of the route table.
type route struct {
	method, path string
	need         need
	handle       handler
}

// Routes registers the API below /api/v4 of a router that has UseEncodedPath set. It takes everything below that prefix which is not
// registered yet, so other routes there come before it. What is fetched by its web address is registered too.
func Routes(r *mux.Router, d Deps) {
	a := &api{
		Deps:         d,
		site:         site.Site{External: d.ExternalURL, SSHHost: d.SSHHost, SSHPort: d.SSHPort, SSHUser: d.SSHUser},
		users:        user.New(d.DB),
		keys:         key.New(d.DB),
		cas:          sshca.New(d.DB),
		tokens:       token.New(d.DB),
		deployTokens: deploytoken.New(d.DB),
		bots:         bot.New(d.DB),
		namespaces:   namespace.New(d.DB),
		projects:     project.New(d.DB),
		members:      member.New(d.DB),
		protections:  protection.New(d.DB),
		attachments:  attachment.New(d.DB, d.Files),
		handover:     &handover.Service{Gitaly: d.Gitaly, Downloads: d.Downloads},
		limiter:      ratelimit.New(d.Redis, d.Now),
	}
	a.register(r, prefix, a.routes())
	r.PathPrefix(prefix + "/").HandlerFunc(a.unknownRoute)
	a.register(r, "", a.webRoutes())
}

// register adds a table of routes, whose paths begin with prefix. Of two paths that match, the first one counts.
func (a *api) register(r *mux.Router, prefix string, table []route) {
	var paths []string
	methods := make(map[string]map[string]http.Handler)
	for _, rt := range table {
		if methods[rt.path] == nil {
			methods[rt.path] = make(map[string]http.Handler)
			paths = append(paths, rt.path)
		}
		methods[rt.path][rt.method] = a.serve(rt)
		if rt.method == http.MethodGet {
			methods[rt.path][http.MethodHead] = methods[rt.path][rt.method]
		}
	}
	for _, path := range paths {
		r.Handle(prefix+path, a.byMethod(methods[path]))
	}
}

// routes is the table of the whole API; of two paths that match, the first one counts.
func (a *api) routes() []route {
	var all []route
	for _, part := range [][]route{
		a.metaRoutes(), a.userRoutes(), a.keyRoutes(), a.tokenRoutes(), a.namespaceRoutes(), a.groupRoutes(), a.memberRoutes(),
		a.projectRoutes(), a.protectedBranchRoutes(), a.deployKeyRoutes(), a.deployTokenRoutes(), a.accessTokenRoutes(), a.twoFactorRoutes(), a.sshCertificateRoutes(), a.branchRoutes(),
		a.diffRoutes(), a.commitRoutes(), a.blobRoutes(), a.archiveRoutes(), a.treeRoutes(), a.fileRoutes(), a.attachmentRoutes(),
	} {
		all = append(all, part...)
	}
	return all
}

func (a *api) byMethod(handlers map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := handlers[r.Method]; ok {
			h.ServeHTTP(w, r)
			return
		}
		a.fail(w, r, message(http.StatusMethodNotAllowed, "405 Method Not Allowed"))
	})
}

func (a *api) unknownRoute(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, &failure{status: http.StatusNotFound, body: map[string]string{"error": "404 Not Found"}})
}
