package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// knot is a history with branches, merges of all kinds, a directory that comes and
// goes, and clocks that run backwards.
const knot = `commit refs/heads/knot
mark :1
committer C <c@example.com> 1000 +0000
data 1
1
M 100644 inline top
data 1
1
M 100644 inline d/x
data 1
1
M 100644 inline d/y
data 1
1
M 100644 inline d/e/f
data 1
1
M 160000 1111111111111111111111111111111111111111 module

commit refs/heads/side
mark :2
committer C <c@example.com> 1010 +0000
data 1
2
from :1
M 100644 inline d/y
data 1
2
M 100644 inline d/both
data 4
both

commit refs/heads/knot
mark :3
committer C <c@example.com> 1020 +0000
data 1
3
from :1
M 100644 inline d/x
data 1
3
M 100644 inline d/both
data 4
both

commit refs/heads/knot
mark :4
committer C <c@example.com> 1030 +0000
data 1
4
from :3
merge :2
M 100644 inline d/y
data 1
2

commit refs/heads/knot
mark :5
committer C <c@example.com> 1025 +0000
data 1
5
from :4
M 100644 inline top
data 1
5
M 100644 inline gone/a
data 1
5

commit refs/heads/side
mark :6
committer C <c@example.com> 1200 +0000
data 1
6
from :2
M 100755 inline d/x
data 1
1

commit refs/heads/knot
mark :7
committer C <c@example.com> 900 +0000
data 1
7
from :5
D gone

commit refs/heads/knot
mark :8
committer C <c@example.com> 950 +0000
data 1
8
from :7
merge :6
M 100644 inline gone/a
data 1
8

commit refs/heads/knot
mark :9
committer C <c@example.com> 1300 +0000
data 1
9
from :8
`

func (x content) withKnot(t *testing.T) {
	t.Helper()
	x.plumb(t, knot, "fast-import", "--quiet")
}

// TestCommitService_ListLastCommitsForTree compares the answers with what git says of
// each path for itself.
func TestCommitService_ListLastCommitsForTree(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.withKnot(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	list := func(req *gitalypb.ListLastCommitsForTreeRequest) (got []string, err error) {
		req.Repository = x.repo
		messages, err := drain(ignore(commits.ListLastCommitsForTree(ctx, req)))
		for _, m := range messages {
			for _, c := range m.GetCommits() {
				got = append(got, string(c.GetPathBytes())+" "+c.GetCommit().GetId())
			}
		}
		return got, err
	}
	for _, tc := range []struct {
		revision, path string
		offset, limit  int32
		want           []string
	}{
		{"knot", "", 0, 100, []string{"d", "gone", "top", "module"}}, {"knot", "/", 0, 2, []string{"d", "gone"}}, {"knot", ".", 2, 9, []string{"top", "module"}},
		{"knot", "d/", 0, 100, []string{"d/e", "d/both", "d/x", "d/y"}}, {"side", "d/", 1, 2, []string{"d/both", "d/x"}}, {"knot", "d", 0, 100, []string{"d"}},
		{"knot", "d/e/f", 0, 100, []string{"d/e/f"}}, {"knot", "gone/", 0, 100, []string{"gone/a"}}, {"knot~2", "gone/", 0, 100, nil}, {"knot", "none/", 0, 100, nil},
		{"knot", "top/", 0, 100, nil}, {"knot", "d/", 4, 100, nil}, {"knot", "d/", 0, 0, nil}, {"knot", "*", 0, 100, nil},
	} {
		var want []string
		for _, path := range tc.want {
			want = append(want, path+" "+x.plumb(t, "", "log", "-1", "--format=%H", tc.revision, "--", path))
		}
		got, err := list(&gitalypb.ListLastCommitsForTreeRequest{Revision: tc.revision, Path: []byte(tc.path), Offset: tc.offset, Limit: tc.limit})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s in %s: %v (-git +ours):\n%s", tc.path, tc.revision, err, diff)
		}
		for _, line := range want {
			path, id, _ := strings.Cut(line, " ")
			last, err := commits.LastCommitForPath(ctx, &gitalypb.LastCommitForPathRequest{Repository: x.repo, Revision: []byte(tc.revision), Path: []byte(path)})
			if err != nil || last.GetCommit().GetId() != id {
				t.Errorf("LastCommitForPath(%s): %v, %v, git says %s", path, last.GetCommit().GetId(), err, id)
			}
		}
	}
	for _, tc := range []struct {
		req  *gitalypb.ListLastCommitsForTreeRequest
		code codes.Code
	}{
		{&gitalypb.ListLastCommitsForTreeRequest{}, codes.InvalidArgument}, {&gitalypb.ListLastCommitsForTreeRequest{Revision: "--all"}, codes.InvalidArgument},
		{&gitalypb.ListLastCommitsForTreeRequest{Revision: "knot", Offset: -1}, codes.InvalidArgument},
		{&gitalypb.ListLastCommitsForTreeRequest{Revision: "knot", Limit: -1}, codes.InvalidArgument},
		{&gitalypb.ListLastCommitsForTreeRequest{Revision: "knot", Path: []byte("../x")}, codes.InvalidArgument},
		{&gitalypb.ListLastCommitsForTreeRequest{Revision: "knot", Path: []byte("d\x00")}, codes.InvalidArgument},
		{&gitalypb.ListLastCommitsForTreeRequest{Revision: "none", Limit: 1}, codes.NotFound},
	} {
		if _, err := list(tc.req); status.Code(err) != tc.code {
			t.Errorf("%v: %v, want %v", tc.req, err, tc.code)
		}
	}
	for path, want := range map[string]codes.Code{"none": codes.OK, "../x": codes.InvalidArgument, "a\x00": codes.InvalidArgument, strings.Repeat("a/", 1<<19): codes.InvalidArgument, strings.Repeat("a/", 5000): codes.OK} {
		last, err := commits.LastCommitForPath(ctx, &gitalypb.LastCommitForPathRequest{Repository: x.repo, Revision: []byte("knot"), Path: []byte(path)})
		if status.Code(err) != want || last.GetCommit() != nil {
			t.Errorf("LastCommitForPath(%.20q): %v, %v", path, last, err)
		}
	}
	if last, err := commits.LastCommitForPath(ctx, &gitalypb.LastCommitForPathRequest{Repository: x.repo, Revision: []byte("none")}); err != nil || last.GetCommit() != nil {
		t.Errorf("LastCommitForPath in an unknown revision: %v, %v", last, err)
	}
}

func TestCommitService_ListFiles(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.withKnot(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	for revision, want := range map[string][]string{
		"": {"README", "src/deep/er/main.go"}, "knot": {"d/both", "d/e/f", "d/x", "d/y", "gone/a", "top"}, "none": nil, x.first + "^{tree}": {"README"},
	} {
		var got []string
		for _, m := range all(t, ignore(commits.ListFiles(ctx, &gitalypb.ListFilesRequest{Repository: x.repo, Revision: []byte(revision)})), nil) {
			got = append(got, texts(m.GetPaths())...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("files of %q (-want +got):\n%s", revision, diff)
		}
	}
	if _, err := drain(ignore(commits.ListFiles(ctx, &gitalypb.ListFilesRequest{Repository: x.repo, Revision: []byte("--all")}))); status.Code(err) != codes.InvalidArgument {
		t.Errorf("hostile revision: %v", err)
	}
	x.create(t, "empty.git")
	if _, err := drain(ignore(commits.ListFiles(ctx, &gitalypb.ListFilesRequest{Repository: repository("empty.git")}))); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("no branch: %v", err)
	}
	var tree strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&tree, "M 100644 inline %s/%05d\ndata 1\nx\n", strings.Repeat("n", 100), i)
	}
	x.plumb(t, "commit refs/heads/wide\ncommitter C <c@example.com> 1 +0000\ndata 1\nw\n"+tree.String(), "fast-import", "--quiet")
	messages := all(t, ignore(commits.ListFiles(ctx, &gitalypb.ListFilesRequest{Repository: x.repo, Revision: []byte("wide")})), nil)
	n := 0
	for _, m := range messages {
		n += len(m.GetPaths())
	}
	if n != 20_000 || len(messages) < 2 {
		t.Errorf("%d files in %d messages", n, len(messages))
	}
	pages := all(t, ignore(commits.GetTreeEntries(ctx, &gitalypb.GetTreeEntriesRequest{Repository: x.repo, Revision: []byte("wide"), Path: []byte(strings.Repeat("n", 100)),
		PaginationParams: &gitalypb.PaginationParameter{Limit: 19_999}})), nil)
	if len(pages) < 2 || pages[0].GetPaginationCursor().GetNextCursor() == "" || pages[1].GetPaginationCursor() != nil {
		t.Errorf("%d messages of entries, cursors %v and %v", len(pages), pages[0].GetPaginationCursor(), pages[len(pages)-1].GetPaginationCursor())
	}
	var sorted []string
	for _, m := range all(t, ignore(commits.GetTreeEntries(ctx, &gitalypb.GetTreeEntriesRequest{Repository: x.repo, Revision: []byte("knot"), Sort: gitalypb.GetTreeEntriesRequest_FILESYSTEM})), nil) {
		for _, e := range m.GetEntries() {
			sorted = append(sorted, string(e.GetPath()))
		}
	}
	if diff := cmp.Diff([]string{"d", "gone", "module", "top"}, sorted); diff != "" {
		t.Errorf("as a file manager (-want +got):\n%s", diff)
	}
}

func TestCommitService_CommitStats(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.withKnot(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	for revision, want := range map[string]*gitalypb.CommitStatsResponse{
		"main": {Additions: 1, Files: 1}, "old": {Additions: 1, Files: 1}, "heavy": {Additions: 1, Files: 1}, "knot": {}, "side": {Files: 1},
		"knot~3": {Additions: 2, Deletions: 1, Files: 2}, "knot~4": {Additions: 1, Deletions: 1, Files: 1}, // a merge against its first parent
	} {
		want.Oid = x.plumb(t, "", "rev-parse", revision+"^{commit}")
		got, err := commits.CommitStats(ctx, &gitalypb.CommitStatsRequest{Repository: x.repo, Revision: []byte(revision)})
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("CommitStats(%s) = %v, %v, want %v", revision, got, err, want)
		}
	}
	for revision, want := range map[string]codes.Code{"": codes.InvalidArgument, "--stat": codes.InvalidArgument, "none": codes.NotFound, "main~9": codes.NotFound, "old..main": codes.NotFound} {
		if _, err := commits.CommitStats(ctx, &gitalypb.CommitStatsRequest{Repository: x.repo, Revision: []byte(revision)}); status.Code(err) != want {
			t.Errorf("CommitStats(%q): %v, want %v", revision, err, want)
		}
	}
}

func TestCommitService_RawBlame(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.c.commit(t, "lines", "one\ntwo\n")
	reformat := x.c.commit(t, "lines", "One\nTwo\nthree\n")
	x.c.commit(t, ".ignore", "# formatting\n"+reformat+"\n")
	x.c.commit(t, ".broken", "no id\n")
	x.c.git(t, "push", "-q", remote(rel), "main")
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	blame := func(req *gitalypb.RawBlameRequest) (string, error) {
		req.Repository = x.repo
		messages, err := drain(ignore(commits.RawBlame(ctx, req)))
		var out strings.Builder
		for _, m := range messages {
			out.Write(m.GetData())
		}
		return strings.TrimSpace(out.String()), err
	}
	for _, tc := range []struct {
		req  *gitalypb.RawBlameRequest
		args []string
	}{
		{&gitalypb.RawBlameRequest{}, nil},
		{&gitalypb.RawBlameRequest{Range: []byte("2,3")}, []string{"-L2,3"}},
		{&gitalypb.RawBlameRequest{IgnoreRevisionsBlob: []byte("main:.ignore")}, []string{"--ignore-rev", reformat}},
		{&gitalypb.RawBlameRequest{IgnoreRevisionsBlob: []byte(x.c.git(t, "rev-parse", "main:.ignore")), Range: []byte("1,2")}, []string{"-L1,2", "--ignore-rev", reformat}},
	} {
		tc.req.Revision, tc.req.Path = []byte("main"), []byte("lines")
		want := x.plumb(t, "", append(append([]string{"blame", "--porcelain"}, tc.args...), "main", "--", "lines")...)
		got, err := blame(tc.req)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-git +ours):\n%s", tc.args, err, diff)
		}
	}
	resolve := func(name string) *gitalypb.RawBlameError {
		return &gitalypb.RawBlameError{Error: &gitalypb.RawBlameError_ResolveIgnoreRevs{
			ResolveIgnoreRevs: &gitalypb.RawBlameError_ResolveIgnoreRevsError{IgnoreRevisionsBlob: []byte(name)}}}
	}
	for _, tc := range []struct {
		name                          string
		revision, path, lines, ignore string
		code                          codes.Code
		text                          string
		detail                        *gitalypb.RawBlameError
	}{
		{"no path", "main", "", "", "", codes.InvalidArgument, "empty Path", nil},
		{"no revision", "", "lines", "", "", codes.InvalidArgument, "empty revision", nil},
		{"option", "--contents=/etc/passwd", "lines", "", "", codes.InvalidArgument, "revision can't start with '-'", nil},
		{"outside", "main", "../lines", "", "", codes.InvalidArgument, "path escapes repository root", nil},
		{"absolute", "main", "/lines", "", "", codes.InvalidArgument, "path escapes repository root", nil},
		{"NUL", "main", "li\x00nes", "", "", codes.InvalidArgument, "path escapes repository root", nil},
		{"bad range", "main", "lines", "1,2,3", "", codes.InvalidArgument, "invalid Range", nil},
		{"function as range", "main", "lines", ":main", "", codes.InvalidArgument, "invalid Range", nil},
		{"range from zero", "main", "lines", "0,1", "", codes.InvalidArgument, "invalid Range", nil},
		{"behind the end", "main", "lines", "9,10", "", codes.InvalidArgument, "range is outside of the file length",
			&gitalypb.RawBlameError{Error: &gitalypb.RawBlameError_OutOfRange{OutOfRange: &gitalypb.RawBlameError_OutOfRangeError{ActualLines: 3}}}},
		{"no such path", "main", "none", "", "", codes.NotFound, "path not found in revision",
			&gitalypb.RawBlameError{Error: &gitalypb.RawBlameError_PathNotFound{PathNotFound: &gitalypb.PathNotFoundError{Path: []byte("none")}}}},
		{"literal path", "main", "line*", "", "", codes.NotFound, "path not found in revision",
			&gitalypb.RawBlameError{Error: &gitalypb.RawBlameError_PathNotFound{PathNotFound: &gitalypb.PathNotFoundError{Path: []byte("line*")}}}},
		{"no such revision", "none", "lines", "", "", codes.NotFound, "revision not found", nil},
		{"no such list", "main", "lines", "", "main:none", codes.NotFound, "cannot resolve ignore-revs blob", resolve("main:none")},
		{"list is a tree", "main", "lines", "", "main:src", codes.InvalidArgument, "ignore revision is not a blob", resolve("main:src")},
		{"list with an option", "main", "lines", "", "--all:x", codes.InvalidArgument, "revision can't start with '-'", nil},
		{"list of something else", "main", "lines", "", "main:.broken", codes.NotFound, "invalid object name", &gitalypb.RawBlameError{
			Error: &gitalypb.RawBlameError_InvalidIgnoreRevsFormat{InvalidIgnoreRevsFormat: &gitalypb.RawBlameError_InvalidIgnoreRevsFormatError{Content: []byte("no id")}}}},
	} {
		_, err := blame(&gitalypb.RawBlameRequest{Revision: []byte(tc.revision), Path: []byte(tc.path), Range: []byte(tc.lines), IgnoreRevisionsBlob: []byte(tc.ignore)})
		s := status.Convert(err)
		if s.Code() != tc.code || s.Message() != tc.text || tc.detail != nil && (len(s.Details()) != 1 || !proto.Equal(s.Details()[0].(proto.Message), tc.detail)) {
			t.Errorf("%s: %v with %v, want %v with %v", tc.name, err, s.Details(), tc.code, tc.detail)
		}
	}
}

// TestCommitService_RawBlame_canceled: a client that leaves while git works leaves no
// git behind.
func TestCommitService_RawBlame_canceled(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.c.commit(t, "long", strings.Repeat("a line of some length, so that the pipe fills\n", 50_000))
	x.c.git(t, "push", "-q", remote(rel), "main")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := gitalypb.NewCommitServiceClient(x.conn).RawBlame(ctx, &gitalypb.RawBlameRequest{Repository: x.repo, Revision: []byte("main"), Path: []byte("long")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := drain(stream); status.Code(err) != codes.Canceled {
		t.Errorf("after leaving: %v", err)
	}
	eventually(t, "no blame works in the repository", func() bool { return !works(t, x.dir+".*blame") })
}
