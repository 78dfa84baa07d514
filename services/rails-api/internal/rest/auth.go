package rest

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// need says what a route asks of its caller, besides the scope that its method asks for: api for changes, api or read_api for reading.
type need uint16

const (
	// anyone: everybody is served what everybody may see; changes still ask for a user.
	anyone need = 0
	// signedIn routes ask for a user.
	signedIn need = 1 << iota
	// admin routes ask for an administrator.
	admin
	// public routes serve everybody, changes included.
	public
	// readUser routes can be read with the scope read_user.
	readUser
	// readRepository routes can be read with the scope read_repository.
	readRepository
	// anyScope routes ask for a valid token of whatever scope.
	anyScope
	// selfRotate routes may be called with the scope self_rotate.
	selfRotate
	// ownBody routes read their body themselves; their parameters are those of the query.
	ownBody
)

// scopeSelfRotate lets a token rotate itself and nothing else.
const scopeSelfRotate = "self_rotate"

// session is who asks and for what.
type session struct {
	user     *user.User // nil: anonymous
	sudoer   *user.User // who acts as user, when somebody else does
	token    token.Token
	params   *param.Set
	segments map[string]string // the decoded variables of the path
}

// headerToken returns the token of the request's headers, "" when there is none (wire/rest-api.md §2). Basic auth is not for the API.
func headerToken(r *http.Request) string {
	if plain := r.Header.Get("Private-Token"); plain != "" {
		return plain
	}
	scheme, plain, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(plain)
	}
	return ""
}

// paramToken returns the token of the request's parameters, "" when there is none.
func paramToken(p *param.Set) string {
	if plain := p.String("private_token"); plain != "" {
		return plain
	}
	return p.String("access_token")
}

// authenticate fills in the session; a token that is not good fails the request, also where none is needed.
func (a *api) authenticate(r *http.Request, s *session, plain string) error {
	id, err := a.Auth.Token(r.Context(), plain, auth.Address(r))
	if err != nil {
		if reason := auth.Reason(err); reason != "" {
			a.Log.LogAttrs(r.Context(), slog.LevelInfo, "audit", slog.String("refused_token", reason), slog.String(logging.KeyRemoteAddr, r.RemoteAddr),
				slog.String("forwarded_for", r.Header.Get("X-Forwarded-For")))
			return tokenFailure(reason)
		}
		return err
	}
	s.user, s.token = &id.User, id.Token
	logging.AddAttrs(r.Context(), slog.String(logging.KeyUser, id.User.Username))
	return nil
}

func tokenFailure(reason string) error {
	switch reason {
	case "revoked":
		return invalidToken("Token was revoked. You have to re-authorize from the user.")
	case "expired":
		return invalidToken("Token is expired. You can either do re-authorization or token refresh.")
	case "blocked":
		return forbidden("Your account has been blocked.")
	default:
		return unauthorized()
	}
}

// check compares the session with what the route needs.
func (s *session) check(method string, n need) error {
	if s.user == nil {
		if n&(signedIn|admin) != 0 || (!reads(method) && n&public == 0) {
			return unauthorized()
		}
		return nil
	}
	if allowed := scopes(method, n); allowed != nil && !slices.ContainsFunc(s.token.Scopes, func(scope string) bool {
		return slices.Contains(allowed, scope)
	}) {
		return insufficientScope(allowed)
	}
	if n&admin != 0 && !s.user.Admin {
		return forbidden("")
	}
	return nil
}

// scopes lists the scopes of which a token needs one, nil when any will do.
func scopes(method string, n need) []string {
	if n&(anyScope|public) != 0 {
		return nil
	}
	allowed := []string{token.ScopeAPI}
	if reads(method) {
		allowed = append(allowed, token.ScopeReadAPI)
		if n&readUser != 0 {
			allowed = append(allowed, token.ScopeReadUser)
		}
		if n&readRepository != 0 {
			allowed = append(allowed, token.ScopeReadRepository)
		}
	}
	if n&selfRotate != 0 {
		allowed = append(allowed, scopeSelfRotate)
	}
	return allowed
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }
