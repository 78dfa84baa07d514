package app_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// matchesOf collects the matches of a search by content.
func matchesOf(ctx context.Context, x odd, req *gitalypb.SearchFilesByContentRequest) ([]string, error) {
	req.Repository = x.repo
	stream, err := x.repos.SearchFilesByContent(ctx, req)
	if err != nil {
		return nil, err
	}
	messages, err := drain(stream)
	var out []string
	var data []byte
	for _, m := range messages {
		data = append(data, m.GetMatchData()...)
		if m.GetEndOfMatch() {
			out, data = append(out, string(data)), nil
		}
	}
	return out, err
}

// TestRepositoryService_SearchFilesByContent compares with git grep.
func TestRepositoryService_SearchFilesByContent(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	var in bytes.Buffer
	in.WriteString("commit refs/heads/text\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\n")
	file := func(name, content string) {
		fmt.Fprintf(&in, "M 100644 inline %q\ndata %d\n%s\n", name, len(content), content)
	}
	var numbers, long strings.Builder
	for i := range 200 {
		fmt.Fprintf(&numbers, "line %d of many\n", i)
	}
	for range 30_000 {
		long.WriteString("Abcdefghi and more\n")
	}
	file("a b.txt", "one\ntwo\n\nFour\nfive\nsix\nseven\neight\n")
	file("dir/empty", "")
	file("dir/unended", "first\nMATCH four")
	file("line\nbreak", "four\n")
	file("many", numbers.String())
	file("long", long.String())
	file("binary", "four\x00\n")
	file("wide", strings.Repeat("x", 200_000)+"four\n"+"Größe\nGRÖSSE\n\xff\xfe four\n")
	x.feed(t, in.Bytes(), "fast-import", "--quiet")
	for _, query := range []string{"four", "FOUR", "line 1", "line 1[0-9]5", "^five$", "e$", "(one|eight)", "abcdefghi", "größe", "nothing has this", "f.*r", "many|four"} {
		got, err := matchesOf(t.Context(), x, &gitalypb.SearchFilesByContentRequest{Query: query, Ref: []byte("text")})
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		grep := x.grep(t, query)
		if len(grep) != len(got) {
			t.Errorf("%q: %d groups, git grep has %d", query, len(got), len(grep))
		}
		if diff := cmp.Diff(grep, got); diff != "" {
			t.Errorf("%q (-git grep +got):\n%.3000s", query, diff)
		}
	}
}

// grep asks git grep, which prints "--" between groups.
func (x odd) grep(t *testing.T, query string) []string {
	t.Helper()
	cmd := x.command(t, "grep", "--ignore-case", "-I", "--line-number", "--null", "-B2", "-A2", "--extended-regexp", "-e", query, "text")
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatal(err)
	}
	if len(out) == 0 {
		return nil
	}
	groups := strings.Split(string(out), "\n--\n")
	for i := range len(groups) - 1 {
		groups[i] += "\n"
	}
	return groups
}

func TestRepositoryService_SearchFilesByContent_refused(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	for _, tc := range []struct {
		query, ref string
		code       codes.Code
		text       string
	}{
		{"", "main", codes.InvalidArgument, "no query given"},
		{"x", "", codes.InvalidArgument, "no ref given"},
		{"x", "--no-index", codes.InvalidArgument, "invalid ref argument"},
		{"x", "main:dir", codes.InvalidArgument, "revision can't contain ':'"},
		{"a(b", "main", codes.InvalidArgument, "query did not compile: error parsing regexp: missing closing ): `(?i)a(b`"},
		{`(a)\1`, "main", codes.InvalidArgument, "query did not compile: error parsing regexp: invalid escape sequence: `\\1`"},
		{strings.Repeat("x", 1001), "main", codes.InvalidArgument, "query exceeds maximum length"},
		{"x", "none", codes.OK, ""},
		{"a\x00b", "main", codes.OK, ""},
	} {
		got, err := matchesOf(t.Context(), x, &gitalypb.SearchFilesByContentRequest{Query: tc.query, Ref: []byte(tc.ref)})
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text || len(got) != 0 {
			t.Errorf("%.30q in %q: %q, %v, want %v %q", tc.query, tc.ref, got, err, tc.code, tc.text)
		}
	}
}

func TestRepositoryService_SearchFilesByName(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	everything := []string{
		"-dash.md", ".gitattributes", ":(glob)**", "README.md", "dir/a.txt", "dir/deep/b.txt", "line\nbreak/x y", "link", "run", "secret.txt", "sub", "ü.txt",
	}
	for _, tc := range []struct {
		name string
		req  *gitalypb.SearchFilesByNameRequest
		want []string
		code codes.Code
		text string
	}{
		{"all", &gitalypb.SearchFilesByNameRequest{Query: "."}, everything, codes.OK, ""},
		{"a directory", &gitalypb.SearchFilesByNameRequest{Query: "dir/"}, []string{"dir/a.txt", "dir/deep/b.txt"}, codes.OK, ""},
		{"a file", &gitalypb.SearchFilesByNameRequest{Query: "dir/a.txt"}, []string{"dir/a.txt"}, codes.OK, ""},
		{"a name like a pattern", &gitalypb.SearchFilesByNameRequest{Query: ":(glob)**"}, []string{":(glob)**"}, codes.OK, ""},
		{"filtered", &gitalypb.SearchFilesByNameRequest{Query: ".", Filter: `\.md$`}, []string{"-dash.md", "README.md"}, codes.OK, ""},
		{"the second two", &gitalypb.SearchFilesByNameRequest{Query: ".", Offset: 2, Limit: 2}, everything[2:4], codes.OK, ""},
		{"filtered, the second", &gitalypb.SearchFilesByNameRequest{Query: ".", Filter: "txt$", Offset: 1, Limit: 1}, []string{"dir/deep/b.txt"}, codes.OK, ""},
		{"beyond the end", &gitalypb.SearchFilesByNameRequest{Query: ".", Offset: 4294967295, Limit: 4294967295}, nil, codes.OK, ""},
		{"not there", &gitalypb.SearchFilesByNameRequest{Query: "none"}, nil, codes.OK, ""},
		{"no such revision", &gitalypb.SearchFilesByNameRequest{Query: ".", Ref: []byte("none")}, nil, codes.OK, ""},
		{"no query", &gitalypb.SearchFilesByNameRequest{}, nil, codes.InvalidArgument, "no query given"},
		{"up", &gitalypb.SearchFilesByNameRequest{Query: "../x"}, nil, codes.InvalidArgument, "path is outside of the repository"},
		{"an option", &gitalypb.SearchFilesByNameRequest{Query: ".", Ref: []byte("--help")}, nil, codes.InvalidArgument, "invalid ref argument"},
		{"a bad filter", &gitalypb.SearchFilesByNameRequest{Query: ".", Filter: "+*."}, nil, codes.InvalidArgument,
			"filter did not compile: error parsing regexp: missing argument to repetition operator: `+`"},
		{"a long filter", &gitalypb.SearchFilesByNameRequest{Query: ".", Filter: strings.Repeat(".", 1001)}, nil, codes.InvalidArgument, "filter exceeds maximum length"},
	} {
		tc.req.Repository = x.repo
		if tc.req.GetRef() == nil {
			tc.req.Ref = []byte("main")
		}
		stream, err := x.repos.SearchFilesByName(t.Context(), tc.req)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := drain(stream)
		var got []string
		for _, m := range messages {
			for _, f := range m.GetFiles() {
				got = append(got, string(f))
			}
		}
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%s: %v, want %v %q", tc.name, err, tc.code, tc.text)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRepositoryService_GetFileAttributes(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	x.feed(t, []byte(`commit refs/heads/deeper
committer C <c@example.com> 1700000000 +0000
data 0
from refs/heads/main
M 100644 inline dir/.gitattributes
data 18
*.md !text -diff

`), "fast-import", "--quiet")
	get := func(revision string, attributes []string, paths ...string) ([]string, error) {
		r, err := x.repos.GetFileAttributes(t.Context(), &gitalypb.GetFileAttributesRequest{
			Repository: x.repo, Revision: []byte(revision), Attributes: attributes, Paths: paths,
		})
		var out []string
		for _, i := range r.GetAttributeInfos() {
			out = append(out, i.GetPath()+" "+i.GetAttribute()+" "+i.GetValue())
		}
		return out, err
	}
	got, err := get("deeper", []string{"text", "diff", "export-ignore"}, "README.md", "-dash.md", "secret.txt", "none/x", "dir/x.md", "line\nbreak/x.md")
	want := []string{
		"README.md text set", "README.md diff markdown", "-dash.md text unset", "-dash.md diff markdown", "secret.txt export-ignore set",
		"dir/x.md diff unset", "line\nbreak/x.md text set", "line\nbreak/x.md diff markdown",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("attributes: %v (-want +got):\n%s", err, diff)
	}
	if got, err := get("main", []string{"diff"}, "dir/x.md"); err != nil || len(got) != 1 || got[0] != "dir/x.md diff markdown" {
		t.Errorf("attributes of the revision before: %q, %v", got, err)
	}
	for _, tc := range []struct {
		revision   string
		attributes []string
		path       string
		code       codes.Code
		text       string
	}{
		{"", []string{"diff"}, "x", codes.InvalidArgument, "revision is required"},
		{"main", nil, "x", codes.InvalidArgument, "attributes are required"},
		{"main", []string{"--all"}, "x", codes.InvalidArgument, `invalid attribute name "--all"`},
		{"main", []string{"a b"}, "x", codes.InvalidArgument, `invalid attribute name "a b"`},
		{"main", []string{"diff"}, "../x", codes.InvalidArgument, "path is outside of the repository"},
		{"main", []string{"diff"}, "", codes.InvalidArgument, "empty path"},
		{"main", []string{"diff"}, "a\x00b", codes.InvalidArgument, "path is outside of the repository"},
		{"--help", []string{"diff"}, "x", codes.InvalidArgument, "revision can't start with '-'"},
		{"none", []string{"diff"}, "x", codes.NotFound, "object not found"},
		{"main", make([]string, 20_001), "x", codes.InvalidArgument, "too many paths and attributes"},
	} {
		_, err := get(tc.revision, tc.attributes, tc.path)
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%.50v: %v, want %v %q", tc, err, tc.code, tc.text)
		}
	}
}
