package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/workhorse/internal/store"
)

// part is one part of a form.
func part(disposition, value string) string {
	return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
}

const end = "--b--\r\n"

// newRewriter stores nothing: a file's one field tells its content.
func newRewriter() *rewriter {
	return &rewriter{
		save: func(_ context.Context, name string, part io.Reader) (*store.File, error) {
			content, err := io.ReadAll(part)
			return &store.File{Name: name, Path: string(content)}, err
		},
		sign: func(f *store.File) (map[string]string, error) {
			return map[string]string{"name": f.Name, "content": f.Path}, nil
		},
	}
}

// fields reads a rewritten form; none of its parts may be a file.
func fields(tb testing.TB, f *rewriter) [][2]string {
	tb.Helper()
	_, params, err := mime.ParseMediaType(f.contentType())
	if err != nil {
		tb.Fatal(err)
	}
	var list [][2]string
	r := multipart.NewReader(bytes.NewReader(f.body()), params["boundary"])
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			tb.Fatalf("the rewritten form: %v\n%q", err, f.body())
		}
		if p.FileName() != "" {
			tb.Fatalf("a file is left in the form: %q", f.body())
		}
		value, err := io.ReadAll(p)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, [2]string{p.FormName(), string(value)})
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, form string
		want       [][2]string
	}{
		{"fields", part(`name="a"`, "1") + part(`name=b`, "") + part(`name="l[]"`, "x") + part(`name="l[]"`, "y"),
			[][2]string{{"a", "1"}, {"b", ""}, {"l[]", "x"}, {"l[]", "y"}}},
		{"file", part(`name="file"; filename="a.txt"`, "text\r\n--bb"), [][2]string{{"file.content", "text\r\n--bb"}, {"file.name", "a.txt"}}},
		{"nested", part(`name="user[avatar]"; filename="a.png"`, "x"), [][2]string{{"user[avatar].content", "x"}, {"user[avatar].name", "a.png"}}},
		{"path as name", part(`name="file"; filename="../../etc/passwd"`, "x"), [][2]string{{"file.content", "x"}, {"file.name", "passwd"}}},
		{"foreign path as name", part(`name="file"; filename="C:\\Temp\\a.txt"`, "x"), [][2]string{{"file.content", "x"}, {"file.name", "a.txt"}}},
		{"encoded name", part(`name="file"; filename*=UTF-8''%c3%9c%0a..%2fb`, "x"), [][2]string{{"file.content", "x"}, {"file.name", "b"}}},
		{"bad bytes in a name", part("name=\"file\"; filename=\"a\xff.txt\"", "x"), [][2]string{{"file.content", "x"}, {"file.name", "a_.txt"}}},
		{"no file chosen", part(`name="file"; filename=""`, ""), [][2]string{{"file", ""}}},
		{"quotes in a field's name", part(`name="a\"; filename=\"x"`, "1"), [][2]string{{`a"; filename="x`, "1"}}},
		{"without a name", part(`filename="x"`, "1") + part(`name="a"`, "1"), [][2]string{{"a", "1"}}},
		{"empty", "", nil},
		{"without a last line break", part(`name="a"`, "1"), [][2]string{{"a", "1"}}},
		{"text around it", "preamble\r\n" + part(`name="a"`, "1"), [][2]string{{"a", "1"}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newRewriter()
			form := tc.form + end
			if tc.name == "without a last line break" {
				form = strings.TrimSuffix(form, "\r\n")
			}
			if err := f.rewrite(t.Context(), iotest.OneByteReader(strings.NewReader(form)), "b"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, fields(t, f)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRewrite_refuses(t *testing.T) {
	t.Parallel()
	file := func(name string) string { return part(fmt.Sprintf("name=%q; filename=x", name), "x") }
	many := func(n int, one string) string { return strings.Repeat(one, n) }
	files := func(n int) (form string) {
		for i := range n {
			form += file(fmt.Sprintf("f%d", i))
		}
		return form
	}
	cases := []struct{ name, form, want string }{
		{"eleven files", files(11), "upload request contains more than 10 files"},
		{"too many parts", many(1001, part(`name="a"`, "1")), "upload request contains more than 1000 parts"},
		{"field of a file", file("file") + part(`name="file.path"`, "/etc/passwd"), "a field has the name"},
		{"field of a file before it", part(`name="file.path"`, "/etc/passwd") + file("file"), "a field has the name"},
		{"field beside its file", file("file") + part(`name="file"`, "x"), "a field has the name"},
		{"token of a file", part(`name="file.gitlab-workhorse-upload"`, "x") + file("file"), "a field has the name"},
		{"two files of one name", file("file") + file("file"), "a file has a bad field name"},
		{"file inside a file's name", file("a") + file("a.b"), "a file has a bad field name"},
		{"list of files", file("files[]"), "a file has a bad field name"},
		{"bracket first", file("[a]"), "a file has a bad field name"},
		{"long field name", part(`name="`+many(1001, "x")+`"`, "1"), "bad name"},
		{"control in a field name", part("name*=utf-8''a%0db", "1"), "bad name"},
		{"dots as a file name", part(`name="file"; filename="a/.."`, "x"), "a file has a bad name"},
		{"long file name", part(`name="file"; filename="`+many(1001, "x")+`"`, "x"), "a file has a bad name"},
		{"large field", part(`name="a"`, many(maxForm+1, "x")), "the form without its files: entity is too large"},
		{"large fields", many(3, part(`name="a"`, many(maxForm/2, "x"))), "the form without its files: entity is too large"},
		{"long header", "--b\r\nX: " + many(maxHeader, "x") + "\r\n\r\n1\r\n", "too long a header"},
		{"many headers", "--b\r\n" + many(maxHeader/8, "X: 1234\r\n") + "\r\n1\r\n", "too long a header"},
		{"long preamble", many(maxHeader, "x\r\n") + part(`name="a"`, "1"), "too long a header"},
		{"broken header", "--b\r\nno header\r\n\r\n1\r\n", "the form is malformed"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newRewriter()
			if err := f.rewrite(t.Context(), strings.NewReader(tc.form+end), "b"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// A form that ends early is no form, wherever it ends.
func TestRewrite_cut(t *testing.T) {
	t.Parallel()
	form := part(`name="a"`, "1") + part(`name="file"; filename="x"`, "content") + strings.TrimSuffix(end, "--\r\n")
	for n := range form {
		f := newRewriter()
		if err := f.rewrite(t.Context(), strings.NewReader(form[:n]), "b"); err == nil {
			t.Errorf("a form of %d bytes of %d was accepted", n, len(form))
		}
	}
}

// What the rewritten form says is what the form said, and nothing is taken for a
// file's field that is none.
func FuzzRewrite(f *testing.F) {
	f.Add("b", part(`name="a"`, "1")+part(`name="file"; filename="x"`, "content")+end)
	f.Add("b", part(`name="file"; filename*=utf-8''%2e%2e`, "x")+part(`name="file.name"`, "x")+end)
	f.Add("b", "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n\r\n--b--")
	f.Add("b", "--b\n\n--b--\n")
	f.Add("", "----\r\n")
	f.Fuzz(func(t *testing.T, boundary, form string) {
		r := newRewriter()
		if r.rewrite(t.Context(), strings.NewReader(form), boundary) != nil {
			return
		}
		if len(r.files) > maxFiles || len(r.body()) > maxForm+1024 {
			t.Errorf("%d files, %d bytes", len(r.files), len(r.body()))
		}
		seen := map[string]string{}
		for _, field := range fields(t, r) {
			seen[field[0]] = field[1]
		}
		for name, file := range r.files {
			if seen[name+".content"] != file.Path || seen[name+".name"] != file.Name || file.Name == "" || strings.ContainsAny(file.Name, "/\\\x00\r\n") {
				t.Errorf("file %q of %q became %q", file.Name, name, seen)
			}
		}
	})
}
