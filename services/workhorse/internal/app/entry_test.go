package app_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// artifacts makes an archive of files whose sums are right, and of one, "bad", whose
// sum is not.
func artifacts(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, CRC32: 1, UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(content))}
		create := w.CreateRaw
		if name != "bad" {
			create = w.CreateHeader
		}
		f, err := create(h)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// One file out of an archive, here and elsewhere: what rails-api says, and what the
// client gets.
func TestSendData_entry(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 100_000)
	data := artifacts(t, map[string]string{"site/index.html": "<b>hi</b>", `odd "name"`: "odd", "big": big, "bad": big})
	local := filepath.Join(t.TempDir(), "artifacts.zip")
	if err := os.WriteFile(local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(away.Close)
	s := start(t, nil)
	says := func(archive, entry string) {
		s.delegate(s.sendData("artifacts-entry", map[string]any{"Archive": archive, "Entry": entry}), 0, nil)
	}
	for _, archive := range []string{local, away.URL + "/artifacts.zip"} {
		for _, tc := range []struct {
			method, entry string
			status        int
			body          string
			headers       []string
		}{
			{"GET", "site/index.html", 200, "<b>hi</b>", []string{"Content-Type: text/html; charset=utf-8", "Content-Length: 9", "Accept-Ranges: ",
				`Content-Disposition: attachment; filename="index.html"`, "X-Content-Type-Options: nosniff", "X-Accel-Buffering: no"}},
			{"HEAD", "site/index.html", 200, "", []string{"Content-Length: 9"}},
			{"GET", `odd "name"`, 200, "odd", []string{"Content-Type: application/octet-stream", `Content-Disposition: attachment; filename="odd \"name\""`}},
			{"GET", "big", 200, big, []string{"Content-Length: 1000000"}},
			{"GET", "../../etc/passwd", 404, "404 page not found\n", []string{"Content-Disposition: "}},
			{"GET", "site", 404, "404 page not found\n", nil},
		} {
			says(archive, base64.StdEncoding.EncodeToString([]byte(tc.entry)))
			res, body := s.do(tc.method, "/x", nil, "Range", "bytes=2-4")
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("%s of %s: %d, %d bytes; want %d, %d", tc.entry, archive, res.StatusCode, len(body), tc.status, len(tc.body))
			}
			for _, line := range tc.headers {
				checkLine(t, res, line)
			}
		}
		says(archive, base64.StdEncoding.EncodeToString([]byte("bad")))
		s.cutShort("/x", big)
	}
	for _, bad := range [][2]string{{"relative.zip", "YQ=="}, {local, "a!"}, {"", ""}, {"http://127.0.0.1:0/", "YQ=="}} {
		says(bad[0], bad[1])
		if res, body := s.do("GET", "/x", nil); res.StatusCode != 500 || body != "Internal Server Error\n" {
			t.Errorf("%q: %d %q", bad, res.StatusCode, body)
		}
	}
	says(local+"x", "YQ==")
	if res, _ := s.do("GET", "/x", nil); res.StatusCode != 404 {
		t.Errorf("missing archive: %d", res.StatusCode)
	}
}
