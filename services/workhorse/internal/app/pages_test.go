package app_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/workhorse/internal/app"
)

// People see pages with the request's id in place of errors; programs and API
// clients see the errors.
func TestPages(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{"404.html": "our own 404", "422.html": "our own 422"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, func(c *app.Config) { c.DocumentRoot = root })
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		status, kind, _ := strings.Cut(r.URL.RawQuery, "-")
		code, err := strconv.Atoi(status)
		if err != nil {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "br")
		w.Header().Set("Retry-After", "7")
		switch kind {
		case "custom":
			w.Header().Set("X-GitLab-Custom-Error", "1")
		case "json":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "rails")
	}
	const html = "text/html,application/xhtml+xml"
	cases := []struct {
		name, accept, target string
		status               int
		want                 string // the body, or the title of a page
	}{
		{"person", html, "/g/app?503", 503, "GitLab is not available right now (503)"},
		{"person, 500", html, "/g/app?500", 500, "Something went wrong on our side (500)"},
		{"person, 502", html, "/g/app?502", 502, "GitLab is not responding (502)"},
		{"person, 504", html, "/g/app?504", 504, "GitLab took too long to answer (504)"},
		{"own page", html, "/g/app?404", 404, "our own 404"},
		{"own page of another status", html, "/g/app?422", 422, "our own 422"},
		{"no page", html, "/g/app?403", 403, "rails"},
		{"no error", html, "/g/app?200", 200, "rails"},
		{"rails-api insists", html, "/g/app?503-custom", 503, "rails"},
		{"json", html, "/g/app?503-json", 503, "rails"},
		{"git", "*/*", "/g/app/info/refs?503", 503, "rails"},
		{"nothing accepted", "", "/g/app?503", 503, "rails"},
		{"api", html, "/api/v4/version?503", 503, "rails"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			res, body := s.do("GET", tc.target, nil, "Accept", tc.accept)
			got := body
			if _, title, ok := strings.Cut(body, "<title>"); ok {
				got, _, _ = strings.Cut(title, "</title>")
			}
			if res.StatusCode != tc.status || got != tc.want {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, got, tc.status, tc.want)
			}
			page := tc.want != "rails"
			if res.Header.Get("Retry-After") != "7" || (res.Header.Get("Content-Encoding") == "") != page ||
				(res.Header.Get("Cache-Control") == "no-cache, no-store, max-age=0, must-revalidate") != page {
				t.Errorf("headers %v", res.Header)
			}
			if id := res.Header.Get("X-Request-Id"); got != body && !strings.Contains(body, "Request ID: <code>"+id+"</code>") {
				t.Errorf("the id %s is not in the page %q", id, body)
			}
		})
	}
}

// What each kind of client sees when no rails-api answers.
func TestPages_railsDown(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.stop()
	t.Cleanup(s.rails.start)
	cases := []struct{ target, accept, contentType, want string }{
		{"/g/app", "text/html", "text/html; charset=utf-8", ""},
		{"/g/app/info/refs?service=git-upload-pack", "*/*", "text/plain", "GitLab is not responding"},
		{"/g/app.git/info/refs?service=git-upload-pack", "*/*", "text/plain", "GitLab is not responding"},
		{"/api/v4/projects", "text/html", "application/json", `{"message":"GitLab is not responding","correlation_id":"ID"}`},
		{"/-/health", "text/html", "text/plain; charset=utf-8", "Bad Gateway\n"},
	}
	for _, tc := range cases {
		res, body := s.do("GET", tc.target, nil, "Accept", tc.accept)
		id := res.Header.Get("X-Request-Id")
		if res.StatusCode != 502 || res.Header.Get("Content-Type") != tc.contentType || id == "" {
			t.Errorf("%s: %d %v", tc.target, res.StatusCode, res.Header)
		}
		if tc.want == "" {
			if !strings.Contains(body, "GitLab is not responding") || !strings.Contains(body, id) {
				t.Errorf("%s: page %q", tc.target, body)
			}
			continue
		}
		if diff := cmp.Diff(strings.ReplaceAll(tc.want, "ID", id), body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.target, diff)
		}
	}
}

// Files of the document root need no rails-api.
func TestPages_files(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "robots.txt"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(c *app.Config) { c.DocumentRoot = root })
	s.rails.stop()
	if res, body := s.do("GET", "/robots.txt", nil); res.StatusCode != http.StatusOK || body != "a file" {
		t.Errorf("answer %d %q", res.StatusCode, body)
	}
	if res, _ := s.do("GET", "/other.txt", nil); res.StatusCode != http.StatusBadGateway {
		t.Errorf("no file: %d", res.StatusCode)
	}
}
