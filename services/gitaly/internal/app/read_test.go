package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// all reads a stream to its end.
func all[T any](t *testing.T, stream interface{ Recv() (T, error) }, err error) []T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	out, err := drain(stream)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func drain[T any](stream interface{ Recv() (T, error) }) ([]T, error) {
	var out []T
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

// content is a repository with something of everything.
type content struct {
	*bundle
	repo   *gitalypb.Repository
	dir    string
	first  string // commit ids
	second string
	tagged string // of the annotated tag object
	c      *client
}

func withContent(t *testing.T) content {
	t.Helper()
	b := setup(t)
	x := content{bundle: b, dir: b.create(t, rel), repo: repository(rel), c: b.client(t)}
	x.first = x.c.commit(t, "README", "hello\n")
	x.c.git(t, "branch", "old")
	if err := writeFile(x.c.dir+"/src/deep/er/main.go", "package main\n"); err != nil {
		t.Fatal(err)
	}
	x.c.git(t, "add", "-A")
	x.c.git(t, "commit", "-q", "-m", "second\n\nBody of it.\n\nSigned-off-by: A <a@example.com>\nRef: #1")
	x.second = x.c.git(t, "rev-parse", "HEAD")
	x.c.git(t, "tag", "light")
	x.c.git(t, "tag", "-a", "-m", "a note", "heavy", "HEAD~1")
	x.tagged = x.c.git(t, "rev-parse", "heavy")
	x.c.git(t, "push", "-q", remote(rel), "main", "old", "light", "heavy")
	return x
}

func TestRefService(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()

	name, err := refs.FindDefaultBranchName(ctx, &gitalypb.FindDefaultBranchNameRequest{Repository: x.repo})
	if err != nil || string(name.GetName()) != "refs/heads/main" {
		t.Errorf("default branch %q, %v", name.GetName(), err)
	}
	branches := all(t, ignore(refs.FindLocalBranches(ctx, &gitalypb.FindLocalBranchesRequest{Repository: x.repo})), nil)
	var got []string
	for _, m := range branches {
		for _, b := range m.GetLocalBranches() {
			got = append(got, string(b.GetName())+" "+b.GetTargetCommit().GetId())
		}
	}
	if diff := cmp.Diff([]string{"refs/heads/main " + x.second, "refs/heads/old " + x.first}, got); diff != "" {
		t.Errorf("branches (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"main": x.second, "refs/heads/old": x.first, "none": "", "-x": "", "a..b": "", "light": ""} {
		b, err := refs.FindBranch(ctx, &gitalypb.FindBranchRequest{Repository: x.repo, Name: []byte(name)})
		if err != nil || b.GetBranch().GetTargetCommit().GetId() != want {
			t.Errorf("FindBranch(%q) = %v, %v", name, b, err)
		}
	}
	for name, want := range map[string]bool{"refs/heads/main": true, "refs/heads/mai": false, "refs/tags/heavy": true} {
		r, err := refs.RefExists(ctx, &gitalypb.RefExistsRequest{Repository: x.repo, Ref: []byte(name)})
		if err != nil || r.GetValue() != want {
			t.Errorf("RefExists(%q) = %v, %v", name, r, err)
		}
	}
	for _, bad := range []string{"main", "", "--help", "refs/heads/..", "refs/heads/a\x00"} {
		if _, err := refs.RefExists(ctx, &gitalypb.RefExistsRequest{Repository: x.repo, Ref: []byte(bad)}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("RefExists(%q): %v", bad, err)
		}
	}
}

func TestRefService_ListRefs(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	list := func(req *gitalypb.ListRefsRequest) (names []string, err error) {
		req.Repository = x.repo
		stream, err := refs.ListRefs(ctx, req)
		if err != nil {
			return nil, err
		}
		messages, err := drain(stream)
		for _, m := range messages {
			for _, r := range m.GetReferences() {
				names = append(names, strings.TrimSuffix(string(r.GetName())+" "+r.GetPeeledTarget(), " "))
			}
		}
		return names, err
	}
	everything := [][]byte{[]byte("refs/")}
	for _, tc := range []struct {
		name string
		req  *gitalypb.ListRefsRequest
		want []string
	}{
		{"all", &gitalypb.ListRefsRequest{Patterns: everything, Head: true}, []string{"HEAD", "refs/heads/main", "refs/heads/old", "refs/tags/heavy", "refs/tags/light"}},
		{"peeled", &gitalypb.ListRefsRequest{Patterns: [][]byte{[]byte("refs/tags/")}, PeelTags: true}, []string{"refs/tags/heavy " + x.first, "refs/tags/light"}},
		{"pointing at", &gitalypb.ListRefsRequest{Patterns: everything, PointingAtOids: [][]byte{[]byte(x.second)}}, []string{"refs/heads/main", "refs/tags/light"}},
		{"descending", &gitalypb.ListRefsRequest{Patterns: [][]byte{[]byte("refs/heads/*")}, SortBy: &gitalypb.ListRefsRequest_SortBy{Direction: gitalypb.SortDirection_DESCENDING}},
			[]string{"refs/heads/old", "refs/heads/main"}},
		{"second page", &gitalypb.ListRefsRequest{Patterns: everything, PaginationParams: &gitalypb.PaginationParameter{PageToken: "refs/heads/main", Limit: 2}},
			[]string{"refs/heads/old", "refs/tags/heavy"}},
		{"first page", &gitalypb.ListRefsRequest{Patterns: everything, PaginationParams: &gitalypb.PaginationParameter{Limit: 1}}, []string{"refs/heads/main"}},
	} {
		got, err := list(tc.req)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	for _, bad := range []*gitalypb.ListRefsRequest{
		{}, {Patterns: [][]byte{[]byte("--format=x")}}, {Patterns: [][]byte{[]byte("a\x00")}}, {Patterns: [][]byte{{}}},
		{Patterns: everything, PointingAtOids: [][]byte{[]byte("HEAD")}},
		{Patterns: everything, PaginationParams: &gitalypb.PaginationParameter{PageToken: "refs/heads/gone", Limit: 1}},
	} {
		if got, err := list(bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ListRefs(%v) = %q, %v", bad, got, err)
		}
	}
}

func TestRefService_tags(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	resp, err := refs.FindTag(ctx, &gitalypb.FindTagRequest{Repository: x.repo, TagName: []byte("heavy")})
	tag := resp.GetTag()
	if err != nil || tag.GetId() != x.tagged || string(tag.GetMessage()) != "a note" || tag.GetTargetCommit().GetId() != x.first ||
		string(tag.GetTagger().GetEmail()) != "c@example.com" || string(tag.GetName()) != "heavy" {
		t.Errorf("FindTag = %v, %v", tag, err)
	}
	_, err = refs.FindTag(ctx, &gitalypb.FindTagRequest{Repository: x.repo, TagName: []byte("none")})
	details := status.Convert(err).Details()
	if status.Code(err) != codes.NotFound || len(details) != 1 {
		t.Errorf("FindTag(none) = %v with %v", err, details)
	} else if d, ok := details[0].(*gitalypb.FindTagError); !ok || string(d.GetTagNotFound().GetReferenceName()) != "refs/tags/none" {
		t.Errorf("detail = %v", details[0])
	}
	var names []string
	for _, m := range all(t, ignore(refs.FindAllTags(ctx, &gitalypb.FindAllTagsRequest{Repository: x.repo})), nil) {
		for _, tag := range m.GetTags() {
			names = append(names, string(tag.GetName()))
		}
	}
	if diff := cmp.Diff([]string{"heavy", "light"}, names); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

func TestCommitService_commits(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	found, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: x.repo, Revision: []byte("refs/heads/main"), Trailers: true})
	c := found.GetCommit()
	if err != nil || c.GetId() != x.second || string(c.GetSubject()) != "second" || !slices.Equal(c.GetParentIds(), []string{x.first}) ||
		string(c.GetAuthor().GetName()) != "A" || string(c.GetCommitter().GetEmail()) != "c@example.com" || c.GetCommitter().GetDate().GetSeconds() == 0 {
		t.Errorf("FindCommit = %v, %v", c, err)
	}
	if len(c.GetTrailers()) != 2 || string(c.GetTrailers()[1].GetKey()) != "Ref" || string(c.GetTrailers()[1].GetValue()) != "#1" {
		t.Errorf("trailers = %v", c.GetTrailers())
	}
	if none, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: x.repo, Revision: []byte("none")}); err != nil || none.GetCommit() != nil {
		t.Errorf("FindCommit(none) = %v, %v", none, err)
	}
	for _, bad := range []string{"", "-x", "--all", "a b", "a\x00", "HEAD:README", "a\nb", `a\b`} {
		if _, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: x.repo, Revision: []byte(bad)}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("FindCommit(%q): %v", bad, err)
		}
	}
	for revisions, want := range map[string][]string{
		"main": {x.second, x.first}, "refs/heads/main ^refs/heads/old": {x.second}, "main --not old": {x.second}, "main --not --branches": nil,
		"old..main": {x.second}, "--not old --not --all": {x.second}, x.first: {x.first},
	} {
		var got []string
		for _, m := range all(t, ignore(commits.ListCommits(ctx, &gitalypb.ListCommitsRequest{Repository: x.repo, Revisions: strings.Fields(revisions)})), nil) {
			for _, c := range m.GetCommits() {
				got = append(got, c.GetId())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ListCommits(%q) (-want +got):\n%s", revisions, diff)
		}
	}
	for _, tc := range []struct {
		a, b string
		want bool
	}{{x.first, x.second, true}, {x.second, x.first, false}, {x.first, x.first, true}} {
		r, err := commits.CommitIsAncestor(ctx, &gitalypb.CommitIsAncestorRequest{Repository: x.repo, AncestorId: tc.a, ChildId: tc.b})
		if err != nil || r.GetValue() != tc.want {
			t.Errorf("CommitIsAncestor(%s, %s) = %v, %v", tc.a, tc.b, r, err)
		}
	}
	_, err = commits.CommitIsAncestor(ctx, &gitalypb.CommitIsAncestorRequest{Repository: x.repo, AncestorId: strings.Repeat("1", 40), ChildId: x.first})
	if status.Code(err) != codes.NotFound {
		t.Errorf("CommitIsAncestor of an unknown commit: %v", err)
	}
	n, err := commits.CountCommits(ctx, &gitalypb.CountCommitsRequest{Repository: x.repo, Revision: []byte("main"), Path: []byte("src")})
	if err != nil || n.GetCount() != 1 {
		t.Errorf("CountCommits = %v, %v", n, err)
	}
}

func TestCommitService_FindCommits(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	for _, tc := range []struct {
		name string
		req  *gitalypb.FindCommitsRequest
		want []string
	}{
		{"default branch", &gitalypb.FindCommitsRequest{Limit: -1}, []string{x.second, x.first}},
		{"paths", &gitalypb.FindCommitsRequest{Revision: []byte("main"), Paths: [][]byte{[]byte("README")}, Limit: 5}, []string{x.first}},
		{"follow", &gitalypb.FindCommitsRequest{Revision: []byte("main"), Paths: [][]byte{[]byte("README")}, Follow: true, Limit: 5}, []string{x.first}},
		{"page", &gitalypb.FindCommitsRequest{All: true, Limit: 1, Offset: 1}, []string{x.first}},
		{"shortstat", &gitalypb.FindCommitsRequest{IncludeShortstat: true, Limit: 1}, []string{x.second}},
		{"author", &gitalypb.FindCommitsRequest{Author: []byte("nobody"), Limit: 5}, nil},
		{"no limit", &gitalypb.FindCommitsRequest{Revision: []byte("main")}, nil},
		{"follow and skip", &gitalypb.FindCommitsRequest{Revision: []byte("main"), Paths: [][]byte{[]byte("README")}, Follow: true, Limit: 5, Offset: 1}, nil},
		{"message", &gitalypb.FindCommitsRequest{Revision: []byte("main"), MessageRegex: "^add R.*E$", Limit: 5}, []string{x.first}},
		{"all, oldest first", &gitalypb.FindCommitsRequest{All: true, Limit: 5}, []string{x.first, x.second}},
		{"literal path", &gitalypb.FindCommitsRequest{Revision: []byte("main"), Paths: [][]byte{[]byte("*")}, Limit: 5}, nil},
	} {
		tc.req.Repository = x.repo
		var got []string
		for _, m := range all(t, ignore(commits.FindCommits(ctx, tc.req)), nil) {
			for _, c := range m.GetCommits() {
				got = append(got, c.GetId())
				if tc.req.GetIncludeShortstat() && (c.GetShortStats().GetAdditions() != 1 || c.GetShortStats().GetChangedFiles() != 1) {
					t.Errorf("%s: stats %v", tc.name, c.GetShortStats())
				}
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	for revision, want := range map[string]string{"none": "ambiguous_ref", "none..main": "ambiguous_ref", strings.Repeat("1", 40): "bad_object",
		strings.Repeat("1", 40) + ".." + x.first: "invalid_range"} {
		_, err := drain(ignore(commits.FindCommits(ctx, &gitalypb.FindCommitsRequest{Repository: x.repo, Revision: []byte(revision), Limit: 1})))
		details := status.Convert(err).Details()
		if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "commits not found" || len(details) != 1 || !strings.Contains(fmt.Sprint(details[0]), want) {
			t.Errorf("FindCommits(%s): %v with %v, want %s", revision, err, details, want)
		}
	}
	for _, bad := range []*gitalypb.FindCommitsRequest{
		{Offset: -1}, {Paths: [][]byte{{}}}, {Revision: []byte("--output=x")}, {MessageRegex: "\x00"}, {IncludeReferencedBy: [][]byte{[]byte("\x00")}}, {Author: []byte("a\x00")},
		{Paths: [][]byte{bytes.Repeat([]byte("a/"), 1<<19)}}, {Paths: slices.Repeat([][]byte{bytes.Repeat([]byte("a"), 1<<10)}, 1<<10)}, {Paths: [][]byte{[]byte("a\x00")}},
	} {
		bad.Repository, bad.Limit = x.repo, 1
		if _, err := drain(ignore(commits.FindCommits(ctx, bad))); status.Code(err) != codes.InvalidArgument {
			t.Errorf("FindCommits(%.200v): %v", bad, err)
		}
	}
	var named []string
	for _, m := range all(t, ignore(commits.FindCommits(ctx, &gitalypb.FindCommitsRequest{Repository: x.repo, Revision: []byte("main"), Limit: 5,
		IncludeReferencedBy: [][]byte{[]byte("refs/heads/"), []byte("refs/tags/heavy")}, IncludeShortstat: true, Trailers: true})), nil) {
		for _, c := range m.GetCommits() {
			named = append(named, fmt.Sprintf("%s %q %d %d", c.GetId(), c.GetReferencedBy(), len(c.GetTrailers()), c.GetShortStats().GetChangedFiles()))
		}
	}
	if diff := cmp.Diff([]string{x.second + ` ["refs/heads/main"] 2 1`, x.first + ` ["refs/tags/heavy" "refs/heads/old"] 0 1`}, named); diff != "" {
		t.Errorf("references of commits (-want +got):\n%s", diff)
	}
}

func TestCommitService_trees(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	for _, tc := range []struct {
		name string
		req  *gitalypb.GetTreeEntriesRequest
		want []string
	}{
		{"root", &gitalypb.GetTreeEntriesRequest{}, []string{"README BLOB README", "src TREE src/deep/er"}},
		{"trees first", &gitalypb.GetTreeEntriesRequest{Sort: gitalypb.GetTreeEntriesRequest_TREES_FIRST, SkipFlatPaths: true}, []string{"src TREE src", "README BLOB README"}},
		{"directory", &gitalypb.GetTreeEntriesRequest{Path: []byte("src/deep/"), SkipFlatPaths: true}, []string{"src/deep/er TREE src/deep/er"}},
		{"recursive", &gitalypb.GetTreeEntriesRequest{Path: []byte("."), Recursive: true},
			[]string{"README BLOB README", "src TREE src", "src/deep TREE src/deep", "src/deep/er TREE src/deep/er", "src/deep/er/main.go BLOB src/deep/er/main.go"}},
		{"page", &gitalypb.GetTreeEntriesRequest{Recursive: true, PaginationParams: &gitalypb.PaginationParameter{Limit: 2}},
			[]string{"README BLOB README", "src TREE src", "cursor"}},
	} {
		tc.req.Repository, tc.req.Revision = x.repo, []byte("main")
		var got []string
		for _, m := range all(t, ignore(commits.GetTreeEntries(ctx, tc.req)), nil) {
			for _, e := range m.GetEntries() {
				got = append(got, string(e.GetPath())+" "+e.GetType().String()+" "+string(e.GetFlatPath()))
			}
			if m.GetPaginationCursor().GetNextCursor() != "" {
				got = append(got, "cursor")
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	for path, want := range map[string]codes.Code{"none": codes.NotFound, "README": codes.NotFound, "../x": codes.InvalidArgument, "a\x00": codes.InvalidArgument} {
		stream, err := commits.GetTreeEntries(ctx, &gitalypb.GetTreeEntriesRequest{Repository: x.repo, Revision: []byte("main"), Path: []byte(path)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := drain(stream); status.Code(err) != want || len(status.Convert(err).Details()) != 1 {
			t.Errorf("GetTreeEntries(%q): %v, want %v with a detail", path, err, want)
		}
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, blobs, ctx := gitalypb.NewCommitServiceClient(x.conn), gitalypb.NewBlobServiceClient(x.conn), t.Context()
	entry := all(t, ignore(commits.TreeEntry(ctx, &gitalypb.TreeEntryRequest{Repository: x.repo, Revision: []byte("main"), Path: []byte("README")})), nil)
	if len(entry) != 2 || entry[0].GetType() != gitalypb.TreeEntryResponse_BLOB || entry[0].GetSize() != 6 || entry[0].GetMode() != 0o100644 || string(entry[1].GetData()) != "hello\n" {
		t.Errorf("TreeEntry = %v", entry)
	}
	for _, tc := range []struct {
		req  *gitalypb.TreeEntryRequest
		code codes.Code
	}{
		{&gitalypb.TreeEntryRequest{Path: []byte("none")}, codes.NotFound},
		{&gitalypb.TreeEntryRequest{}, codes.InvalidArgument},
		{&gitalypb.TreeEntryRequest{Path: []byte("README"), Limit: -1}, codes.InvalidArgument},
		{&gitalypb.TreeEntryRequest{Path: []byte("README"), MaxSize: 5}, codes.FailedPrecondition},
		{&gitalypb.TreeEntryRequest{Path: []byte("../README")}, codes.InvalidArgument},
	} {
		tc.req.Repository, tc.req.Revision = x.repo, []byte("main")
		if _, err := drain(ignore(commits.TreeEntry(ctx, tc.req))); status.Code(err) != tc.code {
			t.Errorf("TreeEntry(%v): %v, want %v", tc.req, err, tc.code)
		}
	}
	oid := entry[0].GetOid()
	for limit, want := range map[int64]string{-1: "hello\n", 0: "", 2: "he", 100: "hello\n"} {
		var data string
		for _, m := range all(t, ignore(blobs.GetBlob(ctx, &gitalypb.GetBlobRequest{Repository: x.repo, Oid: oid, Limit: limit})), nil) {
			data += string(m.GetData())
		}
		if data != want {
			t.Errorf("GetBlob with limit %d = %q, want %q", limit, data, want)
		}
	}
	if got := all(t, ignore(blobs.GetBlob(ctx, &gitalypb.GetBlobRequest{Repository: x.repo, Oid: x.first, Limit: -1})), nil); len(got) != 1 || got[0].GetOid() != "" {
		t.Errorf("GetBlob of a commit = %v", got)
	}
	var got []string
	for _, m := range all(t, ignore(blobs.GetBlobs(ctx, &gitalypb.GetBlobsRequest{Repository: x.repo, Limit: -1, RevisionPaths: []*gitalypb.GetBlobsRequest_RevisionPath{
		{Revision: "main", Path: []byte("README")}, {Revision: "main", Path: []byte("none")}, {Revision: "main", Path: []byte("src")},
	}})), nil) {
		got = append(got, string(m.GetPath())+" "+m.GetType().String()+" "+string(m.GetData()))
	}
	if diff := cmp.Diff([]string{"README BLOB ", " UNKNOWN hello\n", "none UNKNOWN ", "src TREE "}, got); diff != "" {
		t.Errorf("GetBlobs (-want +got):\n%s", diff)
	}
	exist, err := commits.CheckObjectsExist(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*gitalypb.CheckObjectsExistRequest{{Repository: x.repo, Revisions: [][]byte{[]byte(oid), []byte("none")}}, {Revisions: [][]byte{[]byte("main")}}} {
		if err := exist.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := exist.CloseSend(); err != nil {
		t.Fatal(err)
	}
	answers := all(t, exist, nil)
	if len(answers) != 1 || len(answers[0].GetRevisions()) != 3 || !answers[0].GetRevisions()[0].GetExists() ||
		answers[0].GetRevisions()[1].GetExists() || !answers[0].GetRevisions()[2].GetExists() {
		t.Errorf("CheckObjectsExist = %v", answers)
	}
}

// ignore drops the error of opening a stream: it shows again when reading.
func ignore[T any](stream T, _ error) T { return stream }
