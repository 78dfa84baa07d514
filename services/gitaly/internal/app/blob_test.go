package app_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

const pointerDigits = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

// plainGit runs git in a repository of the storage, beside gitaly.
func plainGit(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", dir}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// history makes a repository from a fast-import stream; sha256 says in which format.
func (b *bundle) history(t *testing.T, rel, stream string, sha256 bool) (repo *gitalypb.Repository, dir string) {
	t.Helper()
	req := &gitalypb.CreateRepositoryRequest{Repository: repository(rel), DefaultBranch: []byte("main")}
	if sha256 {
		req.ObjectFormat = gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256
	}
	if _, err := gitalypb.NewRepositoryServiceClient(b.conn).CreateRepository(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	dir = b.dir + "/" + rel
	plainGit(t, dir, stream, "fast-import", "--quiet")
	return repository(rel), dir
}

// commitOf renders a commit for fast-import. Contents begin with their mode.
func commitOf(branch, title string, files map[string]string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "commit refs/heads/%s\nauthor A <a@example.com> 1700000000 +0000\ncommitter C <c@example.com> 1700000000 +0000\ndata %d\n%s\n", branch, len(title), title)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch mode, content, _ := strings.Cut(files[name], " "); mode {
		case "D":
			fmt.Fprintf(&s, "D %s\n", quoted(name))
		case "160000":
			fmt.Fprintf(&s, "M 160000 %s %s\n", content, quoted(name))
		default:
			fmt.Fprintf(&s, "M %s inline %s\ndata %d\n%s\n", mode, quoted(name), len(content), content)
		}
	}
	return s.String() + "\n"
}

// quoted writes a path as fast-import reads any byte of it.
func quoted(name string) string {
	var s strings.Builder
	for _, b := range []byte(name) {
		fmt.Fprintf(&s, `\%03o`, b)
	}
	return `"` + s.String() + `"`
}

// listed renders a listing: path, size and data of each blob.
func listed[B interface {
	GetOid() string
	GetSize() int64
	GetData() []byte
}](blobs []B, name func(B) string) (out []string) {
	for _, b := range blobs {
		if b.GetOid() == "" {
			out[len(out)-1] += string(b.GetData())
			continue
		}
		out = append(out, fmt.Sprintf("%s %d %s", name(b), b.GetSize(), b.GetData()))
	}
	slices.Sort(out)
	return out
}

func TestBlobService_ListBlobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	large := strings.Repeat("x", 300<<10)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"a": "100644 first", "d/e": "100644 ", "l": "100644 " + large})+
		commitOf("main", "two", map[string]string{"a": "100644 second", "sub": "160000 " + strings.Repeat("1", 40)})+
		commitOf("side", "three", map[string]string{"s": "100644 aside"}), false)
	plainGit(t, dir, "lost", "hash-object", "-w", "--stdin")
	client, ctx := gitalypb.NewBlobServiceClient(b.conn), t.Context()
	list := func(req *gitalypb.ListBlobsRequest) ([]string, error) {
		req.Repository = repo
		messages, err := drain(ignore(client.ListBlobs(ctx, req)))
		var blobs []*gitalypb.ListBlobsResponse_Blob
		for _, m := range messages {
			blobs = append(blobs, m.GetBlobs()...)
		}
		return listed(blobs, func(b *gitalypb.ListBlobsResponse_Blob) string { return string(b.GetPath()) }), err
	}
	for _, tc := range []struct {
		name string
		req  *gitalypb.ListBlobsRequest
		want []string
	}{
		{"facts", &gitalypb.ListBlobsRequest{Revisions: []string{"main"}, WithPaths: true}, []string{"a 5 ", "a 6 ", "d/e 0 ", "l 307200 "}},
		{"some data", &gitalypb.ListBlobsRequest{Revisions: []string{"main"}, BytesLimit: 3, WithPaths: true}, []string{"a 5 fir", "a 6 sec", "d/e 0 ", "l 307200 xxx"}},
		{"all data", &gitalypb.ListBlobsRequest{Revisions: []string{"main~1"}, BytesLimit: -1}, []string{" 0 ", " 307200 " + large, " 5 first"}},
		{"range", &gitalypb.ListBlobsRequest{Revisions: []string{"main~1..main"}, BytesLimit: -1}, []string{" 6 second"}},
		{"all but one", &gitalypb.ListBlobsRequest{Revisions: []string{"--all", "--not", "refs/heads/main"}, BytesLimit: 10, WithPaths: true}, []string{"s 5 aside"}},
		{"limit", &gitalypb.ListBlobsRequest{Revisions: []string{"main"}, Limit: 1, WithPaths: true}, []string{"a 6 "}},
		{"nothing", &gitalypb.ListBlobsRequest{Revisions: []string{"main", "--not", "--all"}}, nil},
	} {
		got, err := list(tc.req)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	for revision, want := range map[string]codes.Code{
		"none": codes.NotFound, "--output=/tmp/x": codes.InvalidArgument, "a b": codes.InvalidArgument, "a\nb": codes.InvalidArgument,
		"a\x00": codes.InvalidArgument, "": codes.InvalidArgument, strings.Repeat("x", 1<<20): codes.InvalidArgument,
	} {
		if got, err := list(&gitalypb.ListBlobsRequest{Revisions: []string{revision}}); status.Code(err) != want {
			t.Errorf("ListBlobs(%.20q) = %v, %v, want %v", revision, got, err, want)
		}
	}
	if _, err := list(&gitalypb.ListBlobsRequest{}); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "missing revisions" {
		t.Errorf("without revisions: %v", err)
	}
	some := func(limit uint32) []string {
		var blobs []*gitalypb.ListAllBlobsResponse_Blob
		for _, m := range all(t, ignore(client.ListAllBlobs(ctx, &gitalypb.ListAllBlobsRequest{Repository: repo, BytesLimit: 2, Limit: limit})), nil) {
			blobs = append(blobs, m.GetBlobs()...)
		}
		return listed(blobs, func(*gitalypb.ListAllBlobsResponse_Blob) string { return "" })
	}
	if diff := cmp.Diff([]string{" 0 ", " 307200 xx", " 4 lo", " 5 as", " 5 fi", " 6 se"}, some(0)); diff != "" {
		t.Errorf("ListAllBlobs (-want +got):\n%s", diff)
	}
	if got := some(2); len(got) != 2 {
		t.Errorf("two of all: %q", got)
	}
	var facts []*gitalypb.ListAllBlobsResponse_Blob
	for _, m := range all(t, ignore(client.ListAllBlobs(ctx, &gitalypb.ListAllBlobsRequest{Repository: repo})), nil) {
		facts = append(facts, m.GetBlobs()...)
	}
	got := listed(facts, func(*gitalypb.ListAllBlobsResponse_Blob) string { return "" })
	if diff := cmp.Diff([]string{" 0 ", " 307200 ", " 4 ", " 5 ", " 5 ", " 6 "}, got); diff != "" {
		t.Errorf("facts of all (-want +got):\n%s", diff)
	}
}

// TestBlobService_cancelled: a listing whose client has left leaves no process.
func TestBlobService_cancelled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprint(i)] = fmt.Sprintf("100644 %d%s", i, strings.Repeat("y", 500<<10))
	}
	repo, dir := b.history(t, rel, commitOf("main", "large", files), false)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := gitalypb.NewBlobServiceClient(b.conn).ListBlobs(ctx, &gitalypb.ListBlobsRequest{Repository: repo, Revisions: []string{"main"}, BytesLimit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := drain(stream); status.Code(err) != codes.Canceled {
		t.Errorf("err = %v, want canceled", err)
	}
	eventually(t, "git to end", func() bool { return len(processesIn(dir)) == 0 })
}

func TestBlobService_LFSPointers(t *testing.T) {
	t.Parallel()
	for _, sha256 := range []bool{false, true} {
		t.Run(fmt.Sprintf("sha256=%v", sha256), func(t *testing.T) {
			t.Parallel()
			testPointers(t, sha256)
		})
	}
}

func testPointers(t *testing.T, sha256 bool) {
	t.Helper()
	pointer := func(size int) string {
		return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", pointerDigits, size)
	}
	b := setup(t)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{
		"p": "100644 " + pointer(1), "no": "100644 hello", "long": "100644 " + pointer(1) + strings.Repeat("#", 100),
	})+commitOf("side", "two", map[string]string{"q": "100644 " + pointer(2)}), sha256)
	lost := plainGit(t, dir, pointer(3), "hash-object", "-w", "--stdin")
	first, plain := plainGit(t, dir, "", "rev-parse", "main:p"), plainGit(t, dir, "", "rev-parse", "main:no")
	client, ctx := gitalypb.NewBlobServiceClient(b.conn), t.Context()
	var got []string
	note := func(pointers []*gitalypb.LFSPointer) {
		for _, p := range pointers {
			if string(p.GetFileOid()) != pointerDigits || string(p.GetData()) != pointer(int(p.GetFileSize())) || p.GetSize() != int64(len(p.GetData())) {
				t.Errorf("pointer %v", p)
			}
			got = append(got, fmt.Sprint(p.GetFileSize()))
		}
	}
	check := func(name string, want ...string) {
		t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		got = nil
	}
	get := func(ids ...string) error {
		messages, err := drain(ignore(client.GetLFSPointers(ctx, &gitalypb.GetLFSPointersRequest{Repository: repo, BlobIds: ids})))
		for _, m := range messages {
			note(m.GetLfsPointers())
		}
		return err
	}
	if err := get(first, plain, lost); err != nil {
		t.Errorf("GetLFSPointers: %v", err)
	}
	check("named", "1", "3")
	for id, want := range map[string]codes.Code{
		strings.Repeat("1", len(first)): codes.NotFound, "main:p": codes.InvalidArgument, "": codes.InvalidArgument, "-x\n": codes.InvalidArgument,
	} {
		if err := get(id); status.Code(err) != want {
			t.Errorf("GetLFSPointers(%q): %v, want %v", id, err, want)
		}
	}
	if err := get(); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "empty BlobIds" {
		t.Errorf("without ids: %v", err)
	}
	got = nil
	list := func(limit int32, revisions ...string) error {
		messages, err := drain(ignore(client.ListLFSPointers(ctx, &gitalypb.ListLFSPointersRequest{Repository: repo, Revisions: revisions, Limit: limit})))
		for _, m := range messages {
			note(m.GetLfsPointers())
		}
		return err
	}
	if err := list(0, "main"); err != nil {
		t.Errorf("ListLFSPointers: %v", err)
	}
	check("of main", "1")
	if err := list(0, "--all"); err != nil {
		t.Errorf("ListLFSPointers: %v", err)
	}
	check("of all", "1", "2")
	if err := list(1, "side", "^main"); err != nil {
		t.Errorf("ListLFSPointers: %v", err)
	}
	check("of side", "2")
	if err := list(0); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "missing revisions" {
		t.Errorf("without revisions: %v", err)
	}
	for limit, n := range map[int32]int{0: 3, 2: 2} {
		for _, m := range all(t, ignore(client.ListAllLFSPointers(ctx, &gitalypb.ListAllLFSPointersRequest{Repository: repo, Limit: limit})), nil) {
			note(m.GetLfsPointers())
		}
		if len(got) != n {
			t.Errorf("all with limit %d: %q", limit, got)
		}
		got = nil
	}
}
