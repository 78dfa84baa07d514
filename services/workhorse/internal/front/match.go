package front

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"
)

// path returns the request's clean escaped path below the relative root.
func (f *Front) path(r *http.Request) string {
	p := strings.TrimPrefix(r.URL.EscapedPath(), f.root)
	if p == "" {
		return "/"
	}
	return p
}

func (f *Front) below(prefix string) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool { return strings.HasPrefix(f.path(r), prefix) }
}

func (f *Front) exactly(path string) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool { return f.path(r) == path }
}

// repository matches requests for something inside a repository: match judges the
// path after ".git/".
func (f *Front) repository(match func(r *http.Request, rest string) bool) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool {
		rest, ok := gitSuffix(f.path(r))
		return ok && match(r, rest)
	}
}

func anything(*http.Request, string) bool { return true }

// isInfoRefs lets in one of the two pack services and nothing else: the dumb
// protocol is not offered (security-baseline.md H3).
func isInfoRefs(r *http.Request, rest string) bool {
	if r.Method != http.MethodGet || rest != "info/refs" {
		return false
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	service := query["service"]
	return err == nil && len(service) == 1 && (service[0] == "git-upload-pack" || service[0] == "git-receive-pack")
}

func isPack(service string) func(*http.Request, string) bool {
	want := "application/x-" + service + "-request"
	return func(r *http.Request, rest string) bool {
		return r.Method == http.MethodPost && rest == service && soleHeader(r.Header, "Content-Type") == want
	}
}

// isLFS matches what git-lfs asks of rails-api, besides the transfers of objects.
func isLFS(_ *http.Request, rest string) bool { return strings.HasPrefix(rest, "info/lfs/") }

// cablePath is where browsers hear of changes (wire/workhorse.md §8).
const cablePath = "/-/cable"

// webSocketKey marks, in the context, a request to upgrade that check let in: the
// headers that say so are gone by the time it is routed.
type webSocketKey struct{}

func markWebSocket(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), webSocketKey{}, true))
}

func isWebSocket(r *http.Request, _ *mux.RouteMatch) bool {
	is, _ := r.Context().Value(webSocketKey{}).(bool)
	return is
}

// soleHeader returns the value of a header that was sent exactly once, or "".
func soleHeader(h http.Header, name string) string {
	if values := h.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// A route's name is found by the table, deep inside, and read by the access log,
// outside: a slot in the context carries it.
type routeKey struct{}

func withRouteName(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "refused" // before it got to the table
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), routeKey{}, &name)))
	})
}

func named(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slot, ok := r.Context().Value(routeKey{}).(*string); ok {
			*slot = name
		}
		next.ServeHTTP(w, r)
	})
}

// routeName returns the name of the request's route and, in GitLab's words, who
// answers there.
func routeName(r *http.Request) (name, backend string) {
	slot, ok := r.Context().Value(routeKey{}).(*string)
	if !ok {
		return "", ""
	}
	switch name = *slot; {
	case name == "refused" || name == "/:repository.git":
		return name, "self"
	case strings.HasPrefix(name, "/:repository.git/git-") || name == "/:repository.git/info/refs":
		return name, "gitaly"
	}
	return name, "rails"
}
