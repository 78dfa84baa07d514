package app_test

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's checksum
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// odd is a repository with names that are hard to handle, made without a push.
type odd struct {
	*bundle
	repo  *gitalypb.Repository
	repos gitalypb.RepositoryServiceClient
	dir   string
}

// withOddNames also has a submodule, a symbolic link, a program, attributes, and a file
// that is larger than what gRPC sends ahead.
func withOddNames(t *testing.T) odd {
	t.Helper()
	b := setup(t)
	x := odd{bundle: b, repo: repository(rel), repos: gitalypb.NewRepositoryServiceClient(b.conn), dir: b.create(t, rel)}
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	var in bytes.Buffer
	blob := func(mark int, data []byte) { fmt.Fprintf(&in, "blob\nmark :%d\ndata %d\n%s\n", mark, len(data), data) }
	blob(1, []byte("hello\n"))
	blob(2, noise)
	blob(3, []byte("secret.txt export-ignore\n*.md text diff=markdown\n-dash.md -text\n"))
	in.WriteString(`commit refs/heads/main
mark :4
committer C <c@example.com> 1700000000 +0000
data 4
one
M 100644 :1 README.md
M 100644 :1 -dash.md
M 100644 :1 "line\nbreak/x y"
M 100644 :1 :(glob)**
M 100755 :1 run
M 120000 :1 link
M 160000 1111111111111111111111111111111111111111 sub
M 100644 :1 dir/a.txt
M 100644 :1 dir/deep/b.txt
M 100644 :1 "\303\274.txt"
M 100644 :1 secret.txt
M 100644 :3 .gitattributes

commit refs/heads/large
committer C <c@example.com> 1700000001 +0000
data 4
two
from :4
M 100644 :2 noise
`)
	x.feed(t, in.Bytes(), "fast-import", "--quiet")
	return x
}

// feed runs git in the repository.
func (x odd) feed(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	return runProgram(t, stdin, "git", append([]string{"--git-dir", x.dir}, args...)...)
}

// command is git in the repository, not started.
func (x odd) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", x.dir}, args...)...)
}

// runProgram runs a program and returns what it printed.
func runProgram(t *testing.T, stdin []byte, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return out.String()
}

// gather puts the data of a stream together.
func gather[T interface{ GetData() []byte }](stream interface{ Recv() (T, error) }, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	messages, err := drain(stream)
	var out []byte
	for _, m := range messages {
		out = append(out, m.GetData()...)
	}
	return out, err
}

func TestRepositoryService_CreateBundle(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	ctx := t.Context()
	data, err := gather(x.repos.CreateBundle(ctx, &gitalypb.CreateBundleRequest{Repository: x.repo}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "all.bundle")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	x.feed(t, nil, "bundle", "verify", "--quiet", path)
	clone := filepath.Join(t.TempDir(), "clone")
	runProgram(t, nil, "git", "clone", "--quiet", "--mirror", path, clone)
	if got, want := runProgram(t, nil, "git", "--git-dir", clone, "show-ref"), x.feed(t, nil, "show-ref"); got != want {
		t.Errorf("references of the clone:\n%s\nwant\n%s", got, want)
	}
	x.create(t, "empty.git")
	_, err = gather(x.repos.CreateBundle(ctx, &gitalypb.CreateBundleRequest{Repository: repository("empty.git")}))
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "create bundle: refusing to create empty bundle" {
		t.Errorf("bundle of nothing: %v", err)
	}
}

func TestRepositoryService_CreateBundleFromRefList(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	send := func(pieces ...string) ([]byte, error) {
		stream, err := x.repos.CreateBundleFromRefList(t.Context())
		if err != nil {
			return nil, err
		}
		for i, piece := range pieces {
			req := &gitalypb.CreateBundleFromRefListRequest{Patterns: bytes.Fields([]byte(piece))}
			if i == 0 || piece == "again" {
				req.Repository = x.repo
			}
			_ = stream.Send(req) // an error of the server comes with Recv
		}
		_ = stream.CloseSend()
		return gather(stream, nil)
	}
	for _, tc := range []struct {
		name   string
		pieces []string
		heads  string // of the bundle
	}{
		{"one", []string{"refs/heads/main"}, "refs/heads/main"},
		{"in pieces, one of them not there", []string{"refs/heads/none", "refs/heads/main"}, "refs/heads/main"},
		{"all but", []string{"--branches ^refs/heads/main"}, "refs/heads/large"},
		{"not", []string{"--branches --not refs/heads/main"}, "refs/heads/large"},
		{"glob", []string{"--glob=refs/heads/l*"}, "refs/heads/large"},
	} {
		data, err := send(tc.pieces...)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		path := filepath.Join(t.TempDir(), "x.bundle")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var heads []string
		for line := range strings.Lines(x.feed(t, nil, "bundle", "list-heads", path)) {
			heads = append(heads, strings.Fields(line)[1])
		}
		if got := strings.Join(heads, " "); got != tc.heads {
			t.Errorf("%s: bundle of %q, want %q", tc.name, got, tc.heads)
		}
	}
	for _, tc := range []struct {
		pieces []string
		code   codes.Code
		text   string
	}{
		{[]string{"refs/heads/none"}, codes.FailedPrecondition, "create bundle: refusing to create empty bundle"},
		{[]string{""}, codes.InvalidArgument, "no revisions specified"},
		{[]string{"refs/heads/main", ""}, codes.InvalidArgument, "no revisions specified"},
		{[]string{"--output=/tmp/x"}, codes.InvalidArgument, "revision can't start with '-'"},
		{[]string{"refs/heads/main", "--upload-pack=x"}, codes.InvalidArgument, "revision can't start with '-'"},
		{[]string{"refs/heads/main", "--all"}, codes.InvalidArgument, "--all must be in the first message"},
		{[]string{"refs/heads/main", "again"}, codes.InvalidArgument, "subsequent requests must not contain repository"},
		{[]string{"--not main..large"}, codes.InvalidArgument, "a range cannot be negated"},
		{[]string{strings.Repeat("x", 1<<20)}, codes.InvalidArgument, "revision is too long"},
		{[]string{"a\x00b"}, codes.InvalidArgument, "revision can't contain NUL"},
	} {
		if _, err := send(tc.pieces...); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%.40q: %v, want %v %q", tc.pieces, err, tc.code, tc.text)
		}
	}
}

func TestRepositoryService_ObjectsSize(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	size := func(pieces ...string) (uint64, error) {
		stream, err := x.repos.ObjectsSize(t.Context())
		if err != nil {
			return 0, err
		}
		for i, piece := range pieces {
			req := &gitalypb.ObjectsSizeRequest{Revisions: bytes.Fields([]byte(piece))}
			if i == 0 {
				req.Repository = x.repo
			}
			_ = stream.Send(req)
		}
		resp, err := stream.CloseAndRecv()
		return resp.GetSize(), err
	}
	want := strings.TrimSpace(x.feed(t, nil, "rev-list", "--all", "--objects", "--disk-usage"))
	for _, pieces := range [][]string{{"--all"}, {"main", "large"}, {"--branches main"}} {
		if got, err := size(pieces...); fmt.Sprint(got) != want || err != nil {
			t.Errorf("%q: %d, %v, want %s", pieces, got, err, want)
		}
	}
	if got, err := size("--all --not --branches"); got != 0 || err != nil {
		t.Errorf("nothing: %d, %v", got, err)
	}
	for piece, code := range map[string]codes.Code{"none": codes.NotFound, "--stdin": codes.InvalidArgument, "": codes.InvalidArgument} {
		if _, err := size(piece); status.Code(err) != code {
			t.Errorf("%q: %v, want %v", piece, err, code)
		}
	}
	du, err := x.repos.GetObjectDirectorySize(t.Context(), &gitalypb.GetObjectDirectorySizeRequest{Repository: x.repo})
	if err != nil || du.GetSize() < 3<<10 {
		t.Errorf("GetObjectDirectorySize = %v, %v, want more than the noise in it", du, err)
	}
}

func TestRepositoryService_CalculateChecksum(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	checksum := func(rel string) (string, error) {
		r, err := x.repos.CalculateChecksum(t.Context(), &gitalypb.CalculateChecksumRequest{Repository: repository(rel)})
		return r.GetChecksum(), err
	}
	x.feed(t, nil, "update-ref", "refs/internal/x", "main") // does not count
	var want [sha1.Size]byte
	for line := range strings.Lines(x.feed(t, nil, "show-ref", "--head")) {
		if strings.Contains(line, "refs/internal") {
			continue
		}
		for i, b := range sha1.Sum([]byte(strings.TrimSuffix(line, "\n"))) { //nolint:gosec // as above
			want[i] ^= b
		}
	}
	if got, err := checksum(rel); got != hex.EncodeToString(want[:]) || err != nil {
		t.Errorf("checksum %q, %v, want %x", got, err, want)
	}
	dir := x.create(t, "empty.git")
	if got, err := checksum("empty.git"); got != strings.Repeat("0", 40) || err != nil {
		t.Errorf("checksum of nothing %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "HEAD"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checksum("empty.git"); status.Code(err) != codes.DataLoss {
		t.Errorf("checksum of a damaged repository: %v", err)
	}
}

func TestRepositoryService_Fsck(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	fsck := func(req *gitalypb.FsckRequest) (string, error) {
		r, err := x.repos.Fsck(t.Context(), req)
		return string(r.GetError()), err
	}
	if found, err := fsck(&gitalypb.FsckRequest{Repository: x.repo}); found != "" || err != nil {
		t.Errorf("good repository: %q, %v", found, err)
	}
	missing := strings.Repeat("1", 40)
	if err := writeFile(filepath.Join(x.dir, "refs/heads/gone"), missing+"\n"); err != nil {
		t.Fatal(err)
	}
	if found, err := fsck(&gitalypb.FsckRequest{Repository: x.repo}); !strings.Contains(found, missing) || err != nil {
		t.Errorf("damaged repository: %q, %v", found, err)
	}
	if _, err := fsck(&gitalypb.FsckRequest{Repository: x.repo, RepoOnly: true}); status.Code(err) != codes.Unimplemented {
		t.Errorf("repo_only: %v", err)
	}
}

func TestRepositoryService_FastExport(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	data, err := gather(x.repos.FastExport(t.Context(), &gitalypb.FastExportRequest{Repository: x.repo}))
	if err != nil {
		t.Fatal(err)
	}
	again := x.create(t, "again.git")
	runProgram(t, data, "git", "--git-dir", again, "fast-import", "--quiet")
	if got, want := runProgram(t, nil, "git", "--git-dir", again, "show-ref"), x.feed(t, nil, "show-ref"); got != want {
		t.Errorf("imported again:\n%s\nwant\n%s", got, want)
	}
}

func TestRepositoryService_GetConfig(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	repos := gitalypb.NewRepositoryServiceClient(b.conn)
	want, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := gather(repos.GetConfig(t.Context(), &gitalypb.GetConfigRequest{Repository: repository(rel)}))
	if !bytes.Equal(got, want) || err != nil {
		t.Errorf("configuration %q, %v, want %q", got, err, want)
	}
	if err := os.Remove(filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	if got, err := gather(repos.GetConfig(t.Context(), &gitalypb.GetConfigRequest{Repository: repository(rel)})); err == nil {
		t.Errorf("a configuration outside of the storage is sent: %q", got)
	}
}

// TestRepositoryService_cancelled leaves each stream after its first message; TestMain
// sees to it that nothing keeps running.
func TestRepositoryService_cancelled(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	line := bytes.Repeat([]byte("every line of this is found\n"), 100_000)
	x.feed(t, fmt.Appendf(nil, "commit refs/heads/wide\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\nM 100644 inline text\ndata %d\n%s\n", len(line), line),
		"fast-import", "--quiet")
	type recv func() error
	for name, start := range map[string]func(context.Context) (recv, error){
		"CreateBundle": func(ctx context.Context) (recv, error) {
			s, err := x.repos.CreateBundle(ctx, &gitalypb.CreateBundleRequest{Repository: x.repo})
			return func() error { return ignored(s.Recv()) }, err
		},
		"GetArchive": func(ctx context.Context) (recv, error) {
			s, err := x.repos.GetArchive(ctx, &gitalypb.GetArchiveRequest{Repository: x.repo, CommitId: "large", Format: gitalypb.GetArchiveRequest_TAR_BZ2})
			return func() error { return ignored(s.Recv()) }, err
		},
		"GetSnapshot": func(ctx context.Context) (recv, error) {
			s, err := x.repos.GetSnapshot(ctx, &gitalypb.GetSnapshotRequest{Repository: x.repo})
			return func() error { return ignored(s.Recv()) }, err
		},
		"SearchFilesByContent": func(ctx context.Context) (recv, error) {
			s, err := x.repos.SearchFilesByContent(ctx, &gitalypb.SearchFilesByContentRequest{Repository: x.repo, Query: "e", Ref: []byte("wide")})
			return func() error { return ignored(s.Recv()) }, err
		},
		"FastExport": func(ctx context.Context) (recv, error) {
			s, err := x.repos.FastExport(ctx, &gitalypb.FastExportRequest{Repository: x.repo})
			return func() error { return ignored(s.Recv()) }, err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		receive, err := start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := receive(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		for err == nil {
			err = receive()
		}
		if status.Code(err) != codes.Canceled {
			t.Errorf("%s: %v, want canceled", name, err)
		}
	}
	// A list of revisions that never ends, with a git that waits for more.
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := x.repos.ObjectsSize(ctx)
	if err == nil {
		err = stream.Send(&gitalypb.ObjectsSizeRequest{Repository: x.repo, Revisions: [][]byte{[]byte("main")}})
	}
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CloseAndRecv(); status.Code(err) != codes.Canceled {
		t.Errorf("ObjectsSize: %v, want canceled", err)
	}
}

func ignored[T any](_ T, err error) error { return err }
