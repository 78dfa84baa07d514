package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/config"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/app"
)

// lfsPath is where a body of that size is uploaded.
func lfsPath(size int) string {
	return fmt.Sprintf("/g/app.git/gitlab-lfs/objects/%s/%d", strings.Repeat("ab", 32), size)
}

const octets = "application/octet-stream"

// stored is what rails-api was told of an upload, and what it found.
type stored struct {
	r       *http.Request
	form    url.Values
	content string
}

// uploads makes the fake of rails-api permit uploads with the answer and hand what
// follows to finish, which may be nil. It returns a channel of what arrived.
func (s *setup) uploads(answer map[string]any, finish func(http.ResponseWriter, stored)) <-chan stored {
	arrived := make(chan stored, 1)
	handle := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/authorize") {
			w.Header().Set("Content-Type", api.MediaType)
			_ = json.NewEncoder(w).Encode(answer)
			return
		}
		got := stored{r: r}
		if err := r.ParseMultipartForm(1 << 20); err != nil && err != http.ErrNotMultipart { //nolint:errorlint // as documented
			s.t.Errorf("form: %v", err)
		}
		got.form = r.PostForm
		if path := got.form.Get("file.path"); path != "" {
			content, err := os.ReadFile(path)
			if err != nil {
				s.t.Errorf("stored file: %v", err)
			}
			got.content = string(content)
		}
		if finish != nil {
			finish(w, got)
		}
		arrived <- got
	}
	s.rails.preauth, s.rails.proxied = handle, handle
	return arrived
}

// leavesNothing ends workhorse, and with it every request, and looks into dir.
func (s *setup) leavesNothing(t *testing.T, dir string) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left behind", e.Name())
	}
}

func TestUpload_body(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	dir := filepath.Join(t.TempDir(), "tmp", "uploads")
	arrived := s.uploads(map[string]any{"TempPath": dir, "MaximumSize": 11, "UploadHashFunctions": []string{"sha256"}},
		func(w http.ResponseWriter, _ stored) { w.WriteHeader(http.StatusAccepted) })
	res, body := s.do("PUT", lfsPath(11)+"?x=%20y", strings.NewReader("hello world"), "Content-Type", octets,
		"Gitlab-Workhorse-Multipart-Fields", "forged", "Content-Disposition", "attachment")
	if res.StatusCode != http.StatusAccepted || body != "" {
		t.Fatalf("answer %d %q", res.StatusCode, body)
	}
	got := <-arrived
	if got.content != "hello world" {
		t.Errorf("stored %q", got.content)
	}
	if got.r.RequestURI != lfsPath(11)+"?x=%20y" || got.r.Method != "PUT" {
		t.Errorf("rails-api was asked %s %s", got.r.Method, got.r.RequestURI)
	}
	if err := apijwt.Verify([][]byte{s.rails.secret}, apijwt.WorkhorseIssuer, got.r.Header.Get(apijwt.WorkhorseHeader), time.Now()); err != nil {
		t.Error(err)
	}
	files, err := apijwt.VerifyFields([][]byte{s.rails.secret}, got.r.Header.Get(apijwt.FieldsHeader))
	path := got.form.Get("file.path")
	if err != nil || !cmp.Equal(files, map[string]string{"file": path}) || filepath.Dir(path) != dir {
		t.Errorf("fields %v, %v; path %q", files, err, path)
	}
	fields, err := apijwt.VerifyUpload([][]byte{s.rails.secret}, got.form.Get("file.gitlab-workhorse-upload"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("hello world"))
	want := map[string]string{"name": "upload", "path": path, "remote_id": "", "remote_url": "", "size": "11",
		"sha256": hex.EncodeToString(sum[:]), "upload_duration": fields["upload_duration"]}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("signed fields (-want +got):\n%s", diff)
	}
	for name, value := range want {
		if got.form.Get("file."+name) != value {
			t.Errorf("field file.%s = %q, want %q", name, got.form.Get("file."+name), value)
		}
	}
	if got.r.Header.Get("Content-Disposition") != "" || len(got.form) != len(want)+1 {
		t.Errorf("headers %v, form %v", got.r.Header, got.form)
	}
	s.leavesNothing(t, dir)
}

// Uploads that fail leave nothing, and say why.
func TestUpload_refused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		answer  map[string]any
		body    io.Reader
		status  int
		text    string
		arrives bool
	}{
		{name: "too large as announced", answer: map[string]any{"MaximumSize": 5}, body: strings.NewReader("123456789"), status: 413,
			text: "RequestBody: upload failed: the upload size 9 is over maximum of 5 bytes: entity is too large\n"},
		{name: "too large while reading", answer: map[string]any{"MaximumSize": 5}, body: io.MultiReader(strings.NewReader("123456789")), status: 413,
			text: "RequestBody: upload failed: entity is too large\n"},
		{name: "unknown sum", answer: map[string]any{"UploadHashFunctions": []string{"crc32"}}, body: strings.NewReader("x"), status: 500,
			text: "Internal Server Error\n"},
		{name: "two places", answer: map[string]any{"RemoteObject": map[string]any{"ID": "x", "StoreURL": "http://x"}}, body: strings.NewReader("x"),
			status: 500, text: "Internal Server Error\n"},
		{name: "no place", answer: map[string]any{"TempPath": ""}, body: strings.NewReader("x"), status: 500, text: "Internal Server Error\n"},
		{name: "place cannot be made", answer: map[string]any{"TempPath": "/dev/null/x"}, body: strings.NewReader("x"), status: 500,
			text: "Internal Server Error\n"},
		{name: "rails-api refuses what was stored", body: strings.NewReader("x"), status: 422, text: "Unprocessable entity\n", arrives: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			dir := t.TempDir()
			answer := map[string]any{"TempPath": dir}
			for key, value := range tc.answer {
				answer[key] = value
			}
			arrived := s.uploads(answer, func(w http.ResponseWriter, _ stored) {
				http.Error(w, "Unprocessable entity", http.StatusUnprocessableEntity)
			})
			res, text := s.do("PUT", lfsPath(1), tc.body, "Content-Type", octets)
			if res.StatusCode != tc.status || text != tc.text {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, text, tc.status, tc.text)
			}
			if tc.arrives {
				<-arrived
			}
			select {
			case <-arrived:
				t.Error("the request went on to rails-api")
			default:
			}
			s.leavesNothing(t, dir)
		})
	}
}

// A client that leaves or stops in the middle leaves nothing behind.
func TestUpload_brokenOff(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]bool{"client leaves": true, "client stops": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *app.Config) { c.ClientReadTimeout = config.Duration(300 * time.Millisecond) })
			dir := t.TempDir()
			s.uploads(map[string]any{"TempPath": dir}, func(http.ResponseWriter, stored) { t.Error("half an upload went on to rails-api") })
			r, w := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), "PUT", s.base()+lfsPath(100), r)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", octets)
			req.ContentLength = 100
			done := make(chan error, 1)
			go func() {
				res, err := client(t, "").Do(req)
				if err == nil {
					err = fmt.Errorf("status %d", res.StatusCode)
					_ = res.Body.Close()
				}
				done <- err
			}()
			_, _ = w.Write(bytes.Repeat([]byte("x"), 10))
			if leave {
				_ = w.CloseWithError(io.ErrUnexpectedEOF)
			}
			err = <-done
			_ = w.Close()
			if !leave && err.Error() != "status 408" {
				t.Errorf("answer: %v", err)
			}
			s.leavesNothing(t, dir)
		})
	}
}

// What a killed process left is removed at start, and nothing else.
func TestUpload_leftover(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"gitlab-workhorse-upload123", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, func(c *app.Config) { c.Uploads.Unfinished = []string{dir, filepath.Join(dir, "absent")} })
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left are %v, %v", left, err)
	}
}

const formType = "multipart/form-data; boundary=b"

// form is a form with a field and a file.
const form = "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nx y\r\n" +
	"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello world\r\n--b--\r\n"

func TestUpload_form(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	dir := t.TempDir()
	arrived := s.uploads(map[string]any{"TempPath": dir}, func(w http.ResponseWriter, _ stored) { w.WriteHeader(http.StatusCreated) })
	res, _ := s.do("POST", "/api/v4/projects/g%2Fapp/uploads", strings.NewReader(form), "Content-Type", formType)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("answer %d", res.StatusCode)
	}
	got := <-arrived
	fields, err := apijwt.VerifyUpload([][]byte{s.rails.secret}, got.form.Get("file.gitlab-workhorse-upload"))
	if err != nil {
		t.Fatal(err)
	}
	if got.content != "hello world" || fields["name"] != "a.txt" || fields["size"] != "11" || len(fields["md5"])+len(fields["sha1"])+len(fields["sha512"]) != 200 ||
		got.form.Get("title") != "x y" {
		t.Errorf("stored %q as %v, form %v", got.content, fields, got.form)
	}
	files, err := apijwt.VerifyFields([][]byte{s.rails.secret}, got.r.Header.Get(apijwt.FieldsHeader))
	if err != nil || !cmp.Equal(files, map[string]string{"file": fields["path"]}) {
		t.Errorf("files %v, %v", files, err)
	}
	s.leavesNothing(t, dir)
}

// What is no form with files goes on signed, as it came or without the list of files.
func TestUpload_formWithoutFiles(t *testing.T) {
	t.Parallel()
	for contentType, body := range map[string]string{
		"application/json": `{"a":1}`, "": "x",
		formType: "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nx\r\n--b--\r\n",
	} {
		s := start(t, nil)
		arrived := s.uploads(map[string]any{"TempPath": t.TempDir()}, nil)
		if res, _ := s.do("POST", "/api/v4/projects/1/uploads", strings.NewReader(body), "Content-Type", contentType); res.StatusCode != 200 {
			t.Fatalf("%q: answer %d", contentType, res.StatusCode)
		}
		got := <-arrived
		if err := apijwt.Verify([][]byte{s.rails.secret}, apijwt.WorkhorseIssuer, got.r.Header.Get(apijwt.WorkhorseHeader), time.Now()); err != nil {
			t.Errorf("%q: %v", contentType, err)
		}
		if got.r.Header.Get(apijwt.FieldsHeader) != "" || contentType != formType && got.r.Header.Get("Content-Type") != contentType {
			t.Errorf("%q: headers %v", contentType, got.r.Header)
		}
	}
}

// Forms that are refused leave nothing, not even the files before the fault.
func TestUpload_formRefused(t *testing.T) {
	t.Parallel()
	first := strings.TrimSuffix(form, "--b--\r\n")
	file := func(n int) string {
		return fmt.Sprintf("--b\r\nContent-Disposition: form-data; name=\"f%d\"; filename=x\r\n\r\nx\r\n", n)
	}
	flood := ""
	for n := range 10 {
		flood += file(n)
	}
	cases := []struct {
		name, contentType, body string
		status                  int
		text                    string
	}{
		{"too large", formType, file(0) + strings.Replace(form, "hello world", "hello world!", 1), 413, "entity is too large\n"},
		{"eleven files", formType, first + flood + "--b--\r\n", 400, "upload request contains more than 10 files\n"},
		{"forged field", formType, first + "--b\r\nContent-Disposition: form-data; name=\"file.path\"\r\n\r\n/etc/passwd\r\n--b--\r\n", 400,
			"a field has the name of one that belongs to a file\n"},
		{"cut", formType, file(0) + form[:60], 400, "the form is malformed\n"},
		{"no boundary", "multipart/form-data", form, 400, "the form has no boundary\n"},
		{"broken type", "multipart/form-data; boundary", form, 400, "the content type cannot be read\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			dir := t.TempDir()
			s.uploads(map[string]any{"TempPath": dir, "MaximumSize": 11}, func(http.ResponseWriter, stored) { t.Error("it went on") })
			res, text := s.do("POST", "/api/v4/projects/1/uploads", strings.NewReader(tc.body), "Content-Type", tc.contentType)
			if res.StatusCode != tc.status || text != tc.text {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, text, tc.status, tc.text)
			}
			s.leavesNothing(t, dir)
		})
	}
}
