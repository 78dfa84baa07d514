package internalapi

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/user"
)

// check answers GET /internal/check: the versions and whether Redis answers.
func (a *api) check(r *http.Request, _ []byte) (any, error) {
	err := a.Redis.Ping(r.Context()).Err()
	if err != nil {
		a.Log.WarnContext(r.Context(), "redis does not answer", slog.Any(logging.KeyError, err))
	}
	return wire.CheckResponse{APIVersion: "v4", GitLabVersion: a.Version, GitLabRev: a.Revision, Redis: err == nil}, nil
}

// authorizedKeys answers GET /internal/authorized_keys: which key this is. That it
// has expired is said when it is used, in allowed (wire/internal-api.md §3.3).
func (a *api) authorizedKeys(r *http.Request, _ []byte) (any, error) {
	unknown := statusAnswer{http.StatusNotFound, fault{Message: "404 Key Not Found"}}
	fingerprint, err := key.FingerprintOfBlob(r.URL.Query().Get("key"))
	if err != nil {
		return unknown, nil
	}
	k, err := a.keys.ByFingerprint(r.Context(), fingerprint)
	if errs.KindOf(err) == errs.NotFound {
		return unknown, nil
	}
	if err != nil {
		return nil, err
	}
	return wire.AuthorizedKey{
		ID: k.ID, Title: k.Title, CreatedAt: stamp(k.CreatedAt), ExpiresAt: stampOrNull(k.ExpiresAt),
		Key: withComment(k.Text, k.OwnerName+" ("+a.Site.External.Hostname()+")"), UsageType: string(k.UsageType),
	}, nil
}

// authorizedCerts answers GET /internal/authorized_certs: whom a certificate lets in
// that the authority of a group signed, and where (wire/internal-api.md §3.4). It
// must be a member of that group, or the group could speak for anybody.
func (a *api) authorizedCerts(r *http.Request, _ []byte) (any, error) {
	ctx := r.Context()
	ca, err := a.cas.ByFingerprint(ctx, strings.TrimRight(r.URL.Query().Get("key"), "="))
	if errs.KindOf(err) == errs.NotFound {
		return statusAnswer{http.StatusNotFound, fault{Message: "Certificate Not Found"}}, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := a.users.ByLogin(ctx, r.URL.Query().Get("user_identifier"))
	if kind := errs.KindOf(err); kind == errs.NotFound || kind == errs.Invalid {
		return statusAnswer{http.StatusNotFound, fault{Message: "User Not Found"}}, nil
	}
	if err != nil {
		return nil, err
	}
	group, err := namespace.New(a.DB).ByID(ctx, ca.NamespaceID)
	if err != nil {
		return nil, err
	}
	level, err := a.Access.NamespaceLevel(ctx, u.ID, group)
	if err != nil {
		return nil, err
	}
	if level == member.NoAccess {
		return statusAnswer{http.StatusForbidden, fault{Message: "Not an Enterprise User of the group"}}, nil
	}
	return wire.AuthorizedCert{Success: true, Namespace: group.FullPath, Username: u.Username}, nil
}

// withComment returns type and base64 of a public key with another comment.
func withComment(text, comment string) string {
	parts := strings.SplitN(text, " ", 3)
	return strings.Join(parts[:min(2, len(parts))], " ") + " " + comment
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func stampOrNull(t *time.Time) *string {
	if t == nil {
		return nil
	}
	s := stamp(*t)
	return &s
}

// discover answers GET /internal/discover: who asks. An unknown actor is null, not
// an error (wire/internal-api.md §3.5).
func (a *api) discover(r *http.Request, _ []byte) (any, error) {
	u, err := a.actor(r)
	if errs.KindOf(err) == errs.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return wire.DiscoverResponse{ID: u.ID, Username: u.Username, Name: u.Name}, nil
}

func (a *api) actor(r *http.Request) (user.User, error) {
	q := r.URL.Query()
	if id, ok := number(q.Get("key_id")); ok {
		k, err := a.keys.ByID(r.Context(), id)
		if err == nil && k.UsageType == key.Signing {
			return user.User{}, errs.New(errs.NotFound, "key not found")
		}
		if err != nil {
			return user.User{}, err
		}
		return a.users.ByID(r.Context(), k.UserID)
	}
	if id, ok := number(q.Get("user_id")); ok {
		return a.users.ByID(r.Context(), id)
	}
	return a.users.ByUsername(r.Context(), q.Get("username"))
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0
}
