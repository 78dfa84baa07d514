package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What rails-api answers with X-Sendfile, and what the client gets.
func TestSendfile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, empty, pipe := filepath.Join(dir, "a"), filepath.Join(dir, "empty"), filepath.Join(dir, "pipe")
	written := time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC)
	for path, content := range map[string]string{file: "<b>0123456789</b>", empty: ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	many := "bytes=" + strings.TrimSuffix(strings.Repeat("0-0,", 17), ",")
	modified := written.Format(http.TimeFormat)
	s := start(t, nil)
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Sendfile"] = r.URL.Query()["file"]
		h.Set("Content-Disposition", `attachment; filename="a b"`)
		h.Set("Etag", `"tag"`)
		h.Set("Content-Length", "4")
		if r.URL.Query().Has("type") {
			h.Set("Content-Type", "text/plain")
		} else {
			h["Content-Type"] = nil
		}
		w.WriteHeader(map[string]int{"": 200, "201": 201}[r.URL.Query().Get("status")])
		_, _ = w.Write([]byte("body"))
	}
	for _, tc := range []struct {
		name, method, query, header, value string
		status                             int
		body, want                         string // want is a header line
	}{
		{"whole", "GET", "file=" + file, "", "", 200, "<b>0123456789</b>", "Content-Type: application/octet-stream"},
		{"type of rails-api", "GET", "type&file=" + file, "", "", 200, "<b>0123456789</b>", "Content-Type: text/plain"},
		{"head", "HEAD", "file=" + file, "", "", 200, "", "Content-Length: 17"},
		{"empty", "GET", "file=" + empty, "", "", 200, "", "Content-Length: 0"},
		{"post", "POST", "file=" + file, "", "", 200, "<b>0123456789</b>", "Last-Modified: " + modified},
		{"range", "GET", "file=" + file, "Range", "bytes=3-5", 206, "012", "Content-Range: bytes 3-5/17"},
		{"last bytes", "GET", "file=" + file, "Range", "bytes=-4", 206, "</b>", "Content-Range: bytes 13-16/17"},
		{"range of head", "HEAD", "file=" + file, "Range", "bytes=3-5", 206, "", "Content-Length: 3"},
		{"beyond the end", "GET", "file=" + file, "Range", "bytes=17-", 416, "invalid range: failed to overlap\n", "Content-Range: bytes */17"},
		{"overflow", "GET", "file=" + file, "Range", "bytes=0-99999999999999999999", 416, "invalid range\n", ""},
		{"negative", "GET", "file=" + file, "Range", "bytes=5-3", 416, "invalid range\n", ""},
		{"other unit", "GET", "file=" + file, "Range", "lines=1-2", 416, "invalid range\n", ""},
		{"too many ranges", "GET", "file=" + file, "Range", many, 200, "<b>0123456789</b>", "Content-Length: 17"},
		{"overlapping ranges", "GET", "file=" + file, "Range", "bytes=0-16,0-16", 200, "<b>0123456789</b>", "Content-Length: 17"},
		{"same tag", "GET", "file=" + file, "If-None-Match", `"tag"`, 304, "", `Etag: "tag"`},
		{"not newer", "GET", "file=" + file, "If-Modified-Since", modified, 304, "", ""},
		{"older", "GET", "file=" + file, "If-Unmodified-Since", written.Add(-time.Hour).Format(http.TimeFormat), 412, "", ""},
		{"other status", "GET", "status=201&file=" + file, "", "", 201, "body", ""},
		{"missing", "GET", "file=" + file + "x", "", "", 404, "404 page not found\n", "Content-Disposition: "},
		{"below a file", "GET", "file=" + file + "/x", "", "", 404, "404 page not found\n", ""},
		{"directory", "GET", "file=" + dir, "", "", 404, "404 page not found\n", ""},
		{"pipe", "GET", "file=" + pipe, "", "", 404, "404 page not found\n", ""},
		{"socket", "GET", "file=" + s.internal, "", "", 404, "404 page not found\n", ""},
		{"relative", "GET", "file=a", "", "", 500, "Internal Server Error\n", ""},
		{"two", "GET", "file=" + file + "&file=" + file, "", "", 500, "Internal Server Error\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			res, body := s.do(tc.method, "/raw?"+tc.query, nil, "Accept", "*/*", headerOr(tc.header), tc.value)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, tc.status, tc.body)
			}
			checkLine(t, res, tc.want)
			if tc.status == 200 || tc.status == 206 {
				checkLine(t, res, `Content-Disposition: attachment; filename="a b"`)
				checkLine(t, res, "X-Accel-Buffering: no")
				checkLine(t, res, "X-Content-Type-Options: nosniff")
			}
			checkLine(t, res, "X-Sendfile: ")
		})
	}
}

// headerOr names a header that nobody reads when a case has none.
func headerOr(name string) string {
	if name == "" {
		return "X-Nothing"
	}
	return name
}

// checkLine compares one header, given as a line; "" asks for nothing.
func checkLine(t *testing.T, res *http.Response, line string) {
	t.Helper()
	if name, value, ok := strings.Cut(line, ": "); ok && res.Header.Get(name) != value {
		t.Errorf("%s: %q, want %q", name, res.Header.Get(name), value)
	}
}

// What a client sends never counts, in whatever spelling.
func TestSendfile_ofClient(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("top secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	s.rails.proxied = echo
	for _, name := range []string{"X-Sendfile", "x-SENDFILE", "X_Sendfile", "Gitlab-Workhorse-Send-Data", "gitlab_workhorse_send_data"} {
		_, answer := rawExchange(t, s.at(), fmt.Sprintf("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s: %s\r\n\r\n", name, secret))
		if strings.Contains(answer, secret) || strings.Contains(answer, "top secret") {
			t.Errorf("%s came through: %s", name, answer)
		}
	}
}
