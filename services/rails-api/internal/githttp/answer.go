package githttp

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/site"
)

// denied is what git shows for bad credentials, and for everything that somebody
// without credentials may not know to exist.
const denied = "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use " +
	"a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped. See "

const deniedHelp = "help/topics/git/troubleshooting_git.md#error-on-git-fetch-http-basic-access-denied"

// fail writes a refusal as plain text, which git shows line by line
// (wire/workhorse.md §10.4).
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	status, text := errs.KindOf(err).HTTPStatus(), errs.Message(err)
	switch errs.KindOf(err) {
	case errs.Unauthenticated:
		text = challenge(w, a.Site, err)
	case errs.Invalid: // a project could not be made
		status = http.StatusUnprocessableEntity
	case errs.Timeout:
		status = http.StatusServiceUnavailable
	case errs.Denied, errs.NotFound, errs.Unavailable:
	default:
		status, text = http.StatusInternalServerError, "Internal error, please tell your administrator the id "+correlation.ID(ctx)
	}
	if status >= http.StatusInternalServerError {
		a.Log.ErrorContext(ctx, "git request failed", slog.Any(logging.KeyError, err))
	} else {
		logging.AddAttrs(ctx, slog.String("refusal", errs.Message(err)))
	}
	if err := plain(w, status, text); err != nil {
		a.Log.DebugContext(ctx, "workhorse left before its answer", slog.Any(logging.KeyError, err))
	}
}

// Unauthorized refuses credentials, or their absence, in the words and with the
// challenge that git and git-lfs know (wire/workhorse.md §10.1).
func Unauthorized(w http.ResponseWriter, s site.Site, err error) {
	_ = plain(w, http.StatusUnauthorized, challenge(w, s, err)) // workhorse left
}

func challenge(w http.ResponseWriter, s site.Site, err error) (text string) {
	if reason := auth.Reason(err); reason != auth.TokenRequired && reason != auth.JobToken { // git would only ask for the same again
		w.Header().Set("WWW-Authenticate", `Basic realm="GitLab"`)
	}
	return denied + s.URL(deniedHelp)
}

func plain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err := io.WriteString(w, text) //nolint:gosec // plain text, and nosniff
	return err
}

// withoutSuffix matches the info/refs of a path without `.git`, with the queries
// that git sends (wire/workhorse.md §3.1).
func withoutSuffix(r *http.Request, _ *mux.RouteMatch) bool {
	m := bare.FindStringSubmatch(r.URL.Path)
	if m == nil || strings.HasSuffix(m[1], ".git") {
		return false
	}
	switch r.URL.RawQuery {
	case "", "service=" + access.UploadPack, "service=" + access.ReceivePack:
	default:
		return false
	}
	for segment := range strings.SplitSeq(m[1], "/") {
		if pathrule.Namespace(segment, false) != nil {
			return false
		}
	}
	return true
}

// redirect sends git to the path with `.git`, whether or not there is a project.
func redirect(w http.ResponseWriter, r *http.Request) {
	to := url.URL{Path: "/" + bare.FindStringSubmatch(r.URL.Path)[1] + ".git/info/refs", RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusMovedPermanently)
}
