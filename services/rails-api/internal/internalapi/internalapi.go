// Package internalapi answers the callers that have no login of their own:
// gitlab-shell and gitlab-sshd, and gitaly on behalf of its hooks
// (wire/internal-api.md). Handlers translate; package access decides.
package internalapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/sshca"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/twofactor"
	"gitsplit/services/rails-api/internal/user"
)

// Deps is what the handlers work with; every field is needed.
type Deps struct {
	DB       *pgxpool.Pool
	Redis    *redis.Client
	Access   *access.Checker
	Gitaly   *gitaly.Client
	Events   *event.Recorder
	Notices  *notice.Board
	Counter  *counter.Counter
	Branches *branchcache.Cache
	// TwoFactor checks one-time passwords, LFS signs the tokens of git-lfs.
	TwoFactor *twofactor.Service
	LFS       *lfstoken.Signer
	Files     *storage.Store
	Site      site.Site
	Secrets   [][]byte // keys of the callers' JWT, two while they change
	// Limiter counts access checks; OperationLimit is how many of one kind an actor or
	// an address may ask for in a minute, 0 for any number.
	Limiter        *ratelimit.Limiter
	OperationLimit int64
	// ReceiveOptions are git settings for pushes: `receive.maxInputSize=…`.
	ReceiveOptions []string
	Version        string
	Revision       string
	Log            *slog.Logger
	Now            func() time.Time
}

type api struct {
	Deps
	users    *user.Store
	keys     *key.Store
	tokens   *token.Store
	cas      *sshca.Store
	projects *project.Store
}

// maxChangesBody holds 200 000 references; every other body is small.
const (
	maxChangesBody = 64 << 20
	maxBody        = 64 << 10
)

// handler returns the answer to encode, or an error for fail.
type handler func(r *http.Request, body []byte) (any, error)

// Routes registers the internal API below /api/v4/internal.
func Routes(r *mux.Router, d Deps) {
	a := &api{Deps: d, users: user.New(d.DB), keys: key.New(d.DB), tokens: token.New(d.DB), cas: sshca.New(d.DB), projects: project.New(d.DB)}
	for _, rt := range []struct {
		method, path string
		limit        int64
		handle       handler
	}{
		{http.MethodGet, wire.PathCheck, maxBody, a.check},
		{http.MethodGet, wire.PathAuthorizedKeys, maxBody, a.authorizedKeys},
		{http.MethodGet, wire.PathAuthorizedCerts, maxBody, a.authorizedCerts},
		{http.MethodGet, wire.PathDiscover, maxBody, a.discover},
		{http.MethodPost, wire.PathAllowed, maxChangesBody, a.allowed},
		{http.MethodPost, wire.PathPreReceive, maxBody, a.preReceive},
		{http.MethodPost, wire.PathPostReceive, maxChangesBody, a.postReceive},
		{http.MethodPost, wire.PathLFSAuth, maxBody, a.lfsAuthenticate},
		{http.MethodGet, "/lfs", maxBody, a.lfsObject},
		{http.MethodPost, wire.PathTwoFactorCodes, maxBody, a.twoFactorCodes},
		{http.MethodPost, wire.PathTwoFactorOTP, maxBody, a.manualOTP},
		{http.MethodPost, wire.PathTwoFactorPush, maxBody, unsuccessful("Feature is not available")},
		{http.MethodPost, "/two_factor_config", maxBody, a.twoFactorConfig},
		{http.MethodPost, wire.PathPersonalToken, maxBody, a.personalToken},
		{http.MethodPost, "/shellhorse/git_audit_event", maxBody, noAudit},
	} {
		r.Handle(wire.Prefix+rt.path, a.serve(rt.limit, rt.handle)).Methods(rt.method)
	}
	r.PathPrefix(wire.Prefix).Handler(a.serve(maxBody, notOffered("404 Not Found")))
}

// serve checks the caller's token, reads the body and writes the answer.
func (a *api) serve(limit int64, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := apijwt.Verify(a.Secrets, apijwt.ShellIssuer, r.Header.Get(apijwt.ShellHeader), a.Now()); err != nil {
			a.Log.WarnContext(r.Context(), "a caller's token is refused", slog.Any(logging.KeyError, err))
			a.fail(w, r, errs.Wrap(errs.Unauthenticated, apijwt.Refusal("401 Unauthorized", err), err))
			return
		}
		body, err := readBody(w, r, limit)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		answer, err := h(r, body)
		if key, ok := answer.(storedFile); ok {
			if err = a.Files.Send(r.Context(), w, string(key), "application/octet-stream", ""); err == nil {
				return
			}
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		a.write(w, r, http.StatusOK, answer)
	})
}
