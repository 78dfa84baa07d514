// Package front is the door of workhorse: what is refused before anything else
// looks at it, and the table of routes (wire/workhorse.md §1.4, §3).
//
// Two doors lead to one table. The internal door, for our own shell and gitaly,
// passes /api/v4/internal/*; the public door answers 404 there.
package front

import (
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/header"
)

// Handlers are what the routes lead to.
type Handlers struct {
	InfoRefs    http.Handler // GET <repository>.git/info/refs of a pack service
	UploadPack  http.Handler // POST <repository>.git/git-upload-pack
	ReceivePack http.Handler // POST <repository>.git/git-receive-pack
	BodyUpload  http.Handler // requests whose body is one file
	FormUpload  http.Handler // requests of the API whose body is a form with files
	Health      http.Handler // /-/health, /-/liveness, /-/readiness
	Cable       http.Handler // web sockets of /-/cable
	JobRequest  http.Handler // /api/v4/jobs/request
	API         http.Handler // the rest of /api/, but the internal API
	Proxy       http.Handler // what rails-api answers to our own services, and LFS
	Pages       http.Handler // everything else that rails-api answers, to people mostly
}

// Options of a door.
type Options struct {
	Internal bool          // serve /api/v4/internal/* too
	Root     string        // relative URL root, "" or "/gitlab"
	Policy   header.Policy // whose claims are believed; its Internal is set from Internal
	Timeouts Timeouts
	HTTPS    HTTPS // on the public doors only
	Log      *slog.Logger
	Metrics  *Metrics
}

// Metrics are shared by all doors.
type Metrics struct {
	unknownMethods prometheus.Counter
	httpMetrics
}

// NewMetrics registers the front's metrics (wire/workhorse.md §1.5).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{httpMetrics: newHTTPMetrics(reg), unknownMethods: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gitlab_workhorse_unknown_method_rejected_requests",
		Help: "Requests refused for their method.",
	})}
	reg.MustRegister(m.unknownMethods)
	return m
}

// Front is one door.
type Front struct {
	*Metrics
	internal bool
	root     string
	log      *slog.Logger
}

// New returns the handler of one door. Its order matters: the id comes first, so
// that every log line has it; the access line sees every answer, refusals too;
// headers are cleaned last, after the checks that need to see them.
func New(h Handlers, o Options) http.Handler {
	f := &Front{Metrics: o.Metrics, internal: o.Internal, root: o.Root, log: o.Log}
	o.Policy.Internal = o.Internal
	var next http.Handler = f.router(h)
	if !o.Internal {
		next = f.secured(o.HTTPS, next)
	}
	next = o.Policy.Sanitize(next)
	next = f.check(next)
	next = o.Timeouts.watch(next)
	next = f.recoverPanics(next)
	next = f.observe(next)
	next = logging.HTTPAccess(o.Log, func(r *http.Request) string { name, _ := routeName(r); return name })(next)
	next = withRouteName(next)
	return correlation.Middleware(o.Policy.TrustID)(next)
}

// router is the table of routes; the first match wins. Routes to come (CI
// artifacts, terminals) have their place where wire/workhorse.md §3 has them.
func (f *Front) router(h Handlers) http.Handler {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath() // check has cleaned the path
	add := func(name string, handler http.Handler, match mux.MatcherFunc) *mux.Route {
		return r.MatcherFunc(match).Handler(named(name, handler))
	}
	add("/:repository.git/info/refs", h.InfoRefs, f.repository(isInfoRefs))
	add("/:repository.git/git-upload-pack", h.UploadPack, f.repository(isPack("git-upload-pack")))
	add("/:repository.git/git-receive-pack", h.ReceivePack, f.repository(isPack("git-receive-pack")))
	add("/:repository.git/gitlab-lfs/objects/:oid/:size", h.BodyUpload, f.repository(isLFSUpload))
	add("/:repository.git/gitlab-lfs/objects/:oid", h.Proxy, f.repository(isLFSDownload))
	add(cablePath, h.Cable, isWebSocket)
	for _, call := range internalCalls {
		add(internalPrefix+call, h.Proxy, f.exactly(internalPrefix+call))
	}
	add(internalPrefix, h.Proxy, f.below(internalPrefix))
	add("/api/v4/jobs/request", h.JobRequest, f.exactly("/api/v4/jobs/request"))
	add("/api/v4/projects/:id/uploads", h.FormUpload, f.isFormUpload)
	add("/api", h.API, f.below("/api/"))
	add("/:repository.git/info/lfs", h.Proxy, f.repository(isLFS))
	add("/:repository.git", http.HandlerFunc(notFound), f.repository(anything))
	for _, path := range healthPaths {
		add(path, h.Health, f.exactly(path))
	}
	add("/", h.Pages, f.below("/"))
	return r
}

// internalCalls have names of their own in the access log
// (wire/internal-api.md §2); the others share one.
var internalCalls = []string{
	"/check", "/authorized_keys", "/discover", "/allowed", "/pre_receive", "/post_receive", "/lfs_authenticate",
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Not Found", http.StatusNotFound)
}
