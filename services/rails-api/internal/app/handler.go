package app

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/kit/probe"
	"gitsplit/kit/secret"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/githttp"
	"gitsplit/services/rails-api/internal/internalapi"
	"gitsplit/services/rails-api/internal/lfshttp"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/rest"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/twofactor"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/worker"
)

// handler is the route table of rails-api. Order matters where one pattern covers
// another: the REST API takes all of /api/v4 that is left.
func (b *base) handler(chain *probe.Set) (http.Handler, error) {
	shell, err := keys(shellKey, b.cfg.ShellSecretFile, b.cfg.ShellPreviousSecretFile)
	if err != nil {
		return nil, fmt.Errorf("shell secret: %w", err)
	}
	workhorse, err := keys(workhorseKey, b.cfg.WorkhorseSecretFile, b.cfg.WorkhorsePreviousSecretFile)
	if err != nil {
		return nil, fmt.Errorf("workhorse secret: %w", err)
	}
	jobs, err := worker.Inserter(b.db, b.log)
	if err != nil {
		return nil, err
	}
	repositories := projectrepo.New(b.db, b.gitaly, jobs, b.log, time.Now)
	box, err := b.box()
	if err != nil {
		return nil, err
	}
	lfs, err := lfstoken.New(box, time.Now)
	if err != nil {
		return nil, err
	}
	second := twofactor.New(b.db, box, b.site.External.Hostname(), time.Now)
	checker := access.New(access.Deps{
		DB: b.db, Repositories: b.gitaly, Creator: repositories, Site: b.site, Log: b.log, Now: time.Now, OTPSession: b.cfg.otpSession(),
		WithoutLFS: !b.cfg.LFSEnabled,
	})
	people, err := b.people()
	if err != nil {
		return nil, err
	}
	notices := notice.New(b.redis, b.site)

	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.Use(correlation.Middleware(fromWorkhorse), logging.HTTPAccess(b.log, routeName), b.measure(), b.recoverPanic)
	internalapi.Routes(r, internalapi.Deps{
		DB: b.db, Redis: b.redis, Access: checker, Gitaly: b.gitaly, Events: event.New(b.db, jobs, time.Now), Notices: notices,
		TwoFactor: second, LFS: lfs, Files: b.files, Limiter: ratelimit.New(b.redis, time.Now), OperationLimit: b.cfg.ShellOperationLimit,
		Counter: counter.New(b.redis, b.log, time.Now), Branches: branchcache.New(b.redis), Site: b.site, Secrets: shell,
		ReceiveOptions: b.cfg.receiveOptions(), Version: Version, Revision: Revision, Log: b.log, Now: time.Now,
	})
	r.Path("/api/v4/geo/proxy").Methods(http.MethodGet).HandlerFunc(noGeo)
	uploads := uploaded.New(workhorse, time.Now, b.files.TempDir())
	rest.Routes(r, rest.Deps{
		Files: b.files, Uploads: uploads, MaxAttachment: b.cfg.MaxAttachmentSize << 20,
		DB: b.db, Redis: b.redis, Access: checker, Auth: people, TwoFactor: second, Gitaly: b.gitaly, Repositories: repositories,
		ExternalURL: b.site.External, SSHHost: b.site.SSHHost, SSHPort: b.site.SSHPort, SSHUser: b.site.SSHUser,
		Limits: b.cfg.restLimits(), Downloads: b.cfg.RepositoryDownloadsPath, Version: Version, Revision: Revision, Log: b.log, Now: time.Now,
	})
	githttp.Routes(r, githttp.Deps{
		Access: checker, Auth: people, Gitaly: b.gitaly, Notices: notices, Site: b.site, Secrets: workhorse,
		ReceiveOptions: b.cfg.receiveOptions(), Log: b.log, Now: time.Now,
	})
	lfshttp.Routes(r, lfshttp.Deps{
		DB: b.db, Access: checker, Auth: people, Tokens: lfs, Storage: b.files, Uploads: uploads,
		Site: b.site, Log: b.log, Now: time.Now,
	})
	healthRoutes(r, chain)
	r.PathPrefix("/").HandlerFunc(nothingHere)
	return r, nil
}

// healthRoutes are what workhorse asks about the whole chain.
func healthRoutes(r *mux.Router, chain *probe.Set) {
	r.Path("/-/health").Methods(http.MethodGet, http.MethodHead).HandlerFunc(alive("text/plain", "GitLab OK"))
	r.Path("/-/liveness").Methods(http.MethodGet, http.MethodHead).HandlerFunc(alive("application/json", `{"status":"ok"}`))
	r.Path("/-/readiness").Methods(http.MethodGet, http.MethodHead).HandlerFunc(readiness(chain))
}

// people knows who signs in, and stops those who guess.
func (b *base) people() (*auth.Authenticator, error) {
	exempt, err := b.cfg.failedLoginExempt()
	if err != nil {
		return nil, err
	}
	rule := ratelimit.Rule{Failures: b.cfg.FailedLoginLimit, Within: b.cfg.FailedLoginWindow.D(), For: b.cfg.FailedLoginBan.D()}
	guard := auth.NewGuard(ratelimit.NewBans(b.redis, "login", rule), exempt, b.log)
	return auth.New(auth.Deps{DB: b.db, Guard: guard, Log: b.log, Now: time.Now}), nil
}

// box opens what the database holds sealed.
func (b *base) box() (*sealed.Box, error) {
	key, err := secret.Read(b.cfg.DatabaseKeyFile, sealed.MinKey)
	if err != nil {
		return nil, fmt.Errorf("database key: %w", err)
	}
	return sealed.New(key)
}

// fromWorkhorse: only workhorse and the services behind its internal listener
// reach this process, and they choose the correlation id.
func fromWorkhorse(*http.Request) bool { return true }

// routeName returns the template of a request's route.
func routeName(r *http.Request) string {
	route := mux.CurrentRoute(r)
	if route == nil {
		return ""
	}
	if name := route.GetName(); name != "" {
		return name
	}
	template, err := route.GetPathTemplate()
	if err != nil {
		return ""
	}
	return template
}

// noGeo stops workhorse from asking whether this is a Geo secondary.
func noGeo(w http.ResponseWriter, _ *http.Request) {
	alive("application/json", `{"geo_enabled":false}`)(w, nil)
}

func alive(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, text) // the prober went away
	}
}

// readiness tells whether the whole chain can serve, and not what is wrong with
// it: that is for the probe listener and the log.
func readiness(chain *probe.Set) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusOK, `{"status":"ok"}`
		if chain.Ready() != nil {
			status, text = http.StatusServiceUnavailable, `{"status":"failed"}`
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the prober went away
	}
}

func nothingHere(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Not Found", http.StatusNotFound)
}

// recoverPanic answers a request whose handler panicked; the others go on.
func (b *base) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				b.log.ErrorContext(r.Context(), "panic", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
				http.Error(w, `{"message":"500 Internal Server Error"}`, http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// measure counts requests by route and status.
func (b *base) measure() mux.MiddlewareFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Duration of requests.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
	}, []string{"route", "status"})
	b.metrics.MustRegister(seconds)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started, s := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(s, r)
			seconds.WithLabelValues(routeName(r), strconv.Itoa(s.status)).Observe(time.Since(started).Seconds())
		})
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
