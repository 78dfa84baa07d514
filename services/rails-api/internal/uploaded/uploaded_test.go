package uploaded_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/uploaded/uploadedtest"
)

func key(c byte) []byte { return bytes.Repeat([]byte{c}, 32) }

func setup(t *testing.T) (v *uploaded.Receiver, dir string) {
	t.Helper()
	dir = t.TempDir()
	return uploaded.New([][]byte{key(1), key(2)}, time.Now, dir), dir
}

func TestReceiver_Body(t *testing.T) {
	t.Parallel()
	v, dir := setup(t)
	fields := uploadedtest.Store(t, dir, "upload", "hello")
	f, err := v.Body(uploadedtest.Request(t, key(2), "PUT", "/x?file.path=/etc/passwd", "file", fields))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "upload" || f.Path != fields["path"] || f.Size != 5 || f.Sum("sha256") != fields["sha256"] || f.Sum("md5") != "" {
		t.Errorf("got %+v", f)
	}
}

// rewrite changes one thing about a request that is otherwise good.
type rewrite struct {
	name   string
	fields func(map[string]string)
	form   func(url.Values)
	header func(http.Header)
	secret byte
	kind   errs.Kind
}

func TestReceiver_Form_forged(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) func(map[string]string) { return func(f map[string]string) { f[name] = value } }
	cases := []rewrite{
		{name: "other key", secret: 9, kind: errs.Denied},
		{name: "not from workhorse", header: func(h http.Header) { h.Del(apijwt.WorkhorseHeader) }, kind: errs.Denied},
		{name: "list of files forged", header: func(h http.Header) { h.Set(apijwt.FieldsHeader, h.Get(apijwt.FieldsHeader)+"x") }, kind: errs.Invalid},
		{name: "no list of files", header: func(h http.Header) { h.Del(apijwt.FieldsHeader) }, kind: errs.Invalid},
		{name: "request token as list", header: func(h http.Header) { h.Set(apijwt.FieldsHeader, h.Get(apijwt.WorkhorseHeader)) }, kind: errs.Invalid},
		{name: "no token", form: func(v url.Values) { v.Del("file." + apijwt.UploadField) }, kind: errs.Invalid},
		{name: "two tokens", form: func(v url.Values) { v["file."+apijwt.UploadField] = append(v["file."+apijwt.UploadField], "x") }, kind: errs.Invalid},
		{name: "token of nothing", form: func(v url.Values) { v.Set("file."+apijwt.UploadField, "a.b.c") }, kind: errs.Invalid},
		{name: "size", fields: set("size", "6"), kind: errs.Invalid},
		{name: "no size", fields: set("size", "x"), kind: errs.Invalid},
		{name: "negative size", fields: set("size", "-1"), kind: errs.Invalid},
		{name: "two places", fields: set("remote_id", "x"), kind: errs.Invalid},
		{name: "no place", fields: set("path", ""), kind: errs.Invalid},
		{name: "file of somebody else", fields: set("path", outside), kind: errs.Invalid},
		{name: "file that is gone", fields: set("path", outside+"x"), kind: errs.Invalid},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v, dir := setup(t)
			fields := uploadedtest.Store(t, dir, "upload", "hello")
			if tc.fields != nil {
				tc.fields(fields)
			}
			secret := max(tc.secret, 1)
			r := uploadedtest.Request(t, key(secret), "PUT", "/x", "file", fields)
			if tc.form != nil {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				form, err := url.ParseQuery(string(body))
				if err != nil {
					t.Fatal(err)
				}
				tc.form(form)
				r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			}
			if tc.header != nil {
				tc.header(r.Header)
			}
			if f, err := v.Body(r); errs.KindOf(err) != tc.kind {
				t.Errorf("got %+v, %v; want %v", f, err, tc.kind)
			}
		})
	}
}

// Paths that only look as if they were in the directory, and a directory in it.
func TestReceiver_Form_paths(t *testing.T) {
	t.Parallel()
	v, dir := setup(t)
	good := uploadedtest.Store(t, dir, "upload", "hello")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good["path"], link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	base := filepath.Base(good["path"])
	for _, path := range []string{link, dir + "/d", dir + "/d/../" + base, dir + "//" + base, dir + "x/" + base, dir, base, "/"} {
		fields := maps.Clone(good)
		fields["path"] = path
		if _, err := v.Body(uploadedtest.Request(t, key(1), "PUT", "/x", "file", fields)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

// A form of workhorse has plain fields beside the files; a file that workhorse did
// not take out, or too much of anything, is refused.
func TestReceiver_Form_multipart(t *testing.T) {
	t.Parallel()
	part := func(disposition, value string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
	}
	send := func(v *uploaded.Receiver, body string) (uploaded.Form, error) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/x", strings.NewReader(body+"--b--\r\n"))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		return v.Form(uploadedtest.Sign(t, key(1), r))
	}
	v, _ := setup(t)
	form, err := send(v, part(`name="a"`, "1")+part(`name="file.path"`, "/etc/passwd"))
	if err != nil || form.Values.Get("a") != "1" || len(form.Files) != 0 {
		t.Errorf("got %+v, %v", form, err)
	}
	for name, body := range map[string]string{
		"file":      part(`name="file"; filename="x"`, "content"),
		"too large": part(`name="a"`, strings.Repeat("x", 3<<20)),
		"broken":    "--b\r\nno header",
	} {
		if _, err := send(v, body); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReceiver_Permit(t *testing.T) {
	t.Parallel()
	v, _ := setup(t)
	w := httptest.NewRecorder()
	if err := v.Permit(w, uploaded.Destination{TempPath: "/t", MaximumSize: 5, UploadHashFunctions: []string{"sha256"}}); err != nil {
		t.Fatal(err)
	}
	const want = `{"TempPath":"/t","MaximumSize":5,"UploadHashFunctions":["sha256"]}`
	if w.Body.String() != want || w.Header().Get("Content-Type") != uploaded.MediaType {
		t.Errorf("answer %q of type %q", w.Body, w.Header().Get("Content-Type"))
	}
}
