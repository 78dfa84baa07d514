package rest

import (
	"net/http"
	"net/url"
	"strings"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
)

// rows translates a page into what the stores take.
func rows(p page.Page) postgres.Page { return postgres.Page{Limit: p.Size, Offset: p.Offset()} }

// writeList answers with one page of a list and its paging headers.
func writeList[T, E any](a *api, w http.ResponseWriter, r *http.Request, p page.Page, items []T, total int, shape func(T) E) error {
	p.Headers(w.Header(), a.self(r), total)
	return writeJSON(w, http.StatusOK, shapes(items, shape))
}

// shapes turns records into their JSON shapes; the result is never nil.
func shapes[T, E any](items []T, shape func(T) E) []E {
	out := make([]E, 0, len(items))
	for _, item := range items {
		out = append(out, shape(item))
	}
	return entity.List(out)
}

// self is the public URL of the request: the external address, never the internal one that the request came in by.
func (a *api) self(r *http.Request) *url.URL {
	u := *a.ExternalURL
	u.Path = strings.TrimSuffix(a.ExternalURL.Path, "/") + r.URL.Path
	u.RawPath = strings.TrimSuffix(a.ExternalURL.EscapedPath(), "/") + r.URL.EscapedPath()
	u.RawQuery = r.URL.RawQuery
	return &u
}

// web is the public URL of a page.
func (a *api) web(path ...string) string { return a.site.URL(strings.Join(path, "/")) }

// escaped prepares a name from git, which may hold anything, for an address; its slashes stay.
func escaped(name string) string { return (&url.URL{Path: name}).EscapedPath() }
