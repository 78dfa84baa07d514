package static_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gitsplit/services/workhorse/internal/static"
)

func put(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What is a file, and what is left to rails-api.
func TestFiles_Serve(t *testing.T) {
	t.Parallel()
	root, alt, away := t.TempDir(), t.TempDir(), t.TempDir()
	put(t, root, map[string]string{"robots.txt": "robots", "assets/a.css": "a", "assets/a.css.gz": "packed", "uploads/x.txt": "x", ".hidden": "h", "d/.git/config": "c",
		"page.unknown": "<b>", "with space": "s"})
	put(t, alt, map[string]string{"assets/b.js": "b", "c.txt": "c"})
	put(t, away, map[string]string{"secret": "s"})
	if err := os.Symlink(filepath.Join(away, "secret"), filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	h := static.New(static.Options{Root: root, AltRoot: alt, Prefix: "/gitlab", Now: func() time.Time { return now }}).Serve(next)
	ask := func(method, path string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	gzip := []string{"Accept-Encoding", "br, gzip"}
	for _, tc := range []struct {
		method, path string
		headers      []string
		status       int
		body         string
		name, value  string // of a header
	}{
		{"GET", "/gitlab/robots.txt", nil, 200, "robots", "Content-Type", "text/plain; charset=utf-8"},
		{"HEAD", "/gitlab/robots.txt", nil, 200, "", "Content-Length", "6"},
		{"GET", "/gitlab/with%20space", nil, 200, "s", "", ""},
		{"GET", "/gitlab/page.unknown", nil, 200, "<b>", "Content-Type", "application/octet-stream"},
		{"GET", "/gitlab/assets/a.css", nil, 200, "a", "Expires", "Thu, 01 May 2025 12:00:00 GMT"},
		{"GET", "/gitlab/assets/a.css", nil, 200, "a", "Vary", "Accept-Encoding"},
		{"GET", "/gitlab/assets/a.css", gzip, 200, "packed", "Content-Encoding", "gzip"},
		{"GET", "/gitlab/assets/a.css", append([]string{"Range", "bytes=0-0"}, gzip...), 206, "a", "Content-Encoding", ""},
		{"GET", "/gitlab/assets/b.js", gzip, 200, "b", "Cache-Control", "public"},
		{"GET", "/gitlab/c.txt", nil, http.StatusTeapot, "", "", ""},
		{"POST", "/gitlab/robots.txt", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/uploads/x.txt", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/.hidden", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/d/.git/config", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/d", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/link", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/%2e%2e%2f" + filepath.Base(away) + "%2fsecret", nil, http.StatusTeapot, "", "", ""},
		{"GET", "/gitlab/", nil, http.StatusTeapot, "", "", ""},
	} {
		w := ask(tc.method, tc.path, tc.headers...)
		if w.Code != tc.status || w.Body.String() != tc.body || w.Header().Get(tc.name) != tc.value && tc.name != "" {
			t.Errorf("%s %s %v: %d %q %v", tc.method, tc.path, tc.headers, w.Code, w.Body, w.Header())
		}
	}
	put(t, root, map[string]string{"index.html": "being updated"})
	for _, path := range []string{"/gitlab/g/app", "/gitlab/", "/gitlab/index.html"} {
		if w := ask("GET", path); w.Code != 200 || w.Body.String() != "being updated" {
			t.Errorf("%s while updating: %d %q", path, w.Code, w.Body)
		}
	}
	if w := ask("GET", "/gitlab/robots.txt"); w.Body.String() != "robots" {
		t.Errorf("a file while updating: %q", w.Body)
	}
	if err := os.Remove(filepath.Join(root, "index.html")); err != nil {
		t.Fatal(err)
	}
	if w := ask("GET", "/gitlab/g/app"); w.Code != http.StatusTeapot {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// Without a document root there are no files, and without the directory neither.
func TestFiles_none(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, root := range []string{"", filepath.Join(t.TempDir(), "none")} {
		w := httptest.NewRecorder()
		static.New(static.Options{Root: root}).Serve(next).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("root %q: %d", root, w.Code)
		}
	}
}
