package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// unpack unpacks an archive with the system's programs and lists what came out of it:
// paths, directories with a slash behind, links with what they point at.
func unpack(t *testing.T, format gitalypb.GetArchiveRequest_Format, data []byte) []string {
	t.Helper()
	dir := t.TempDir()
	switch format {
	case gitalypb.GetArchiveRequest_TAR:
		runProgram(t, data, "tar", "-x", "-C", dir)
	case gitalypb.GetArchiveRequest_TAR_GZ:
		runProgram(t, data, "tar", "-x", "-z", "-C", dir)
	case gitalypb.GetArchiveRequest_TAR_BZ2:
		runProgram(t, data, "tar", "-x", "-j", "-C", dir)
	case gitalypb.GetArchiveRequest_ZIP:
		file := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		runProgram(t, nil, "unzip", "-q", "-d", dir, file)
	}
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		switch {
		case err != nil || name == "":
			return err
		case d.IsDir():
			name += "/"
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += " -> " + target
		}
		found = append(found, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestRepositoryService_GetArchive(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	get := func(req *gitalypb.GetArchiveRequest) ([]byte, error) {
		req.Repository = x.repo
		return gather(x.repos.GetArchive(t.Context(), req))
	}
	everything := []string{
		"-dash.md", ".gitattributes", ":(glob)**", "README.md", "dir/", "dir/a.txt", "dir/deep/", "dir/deep/b.txt",
		"line\nbreak/", "line\nbreak/x y", "link -> hello\n", "run", "sub/", "ü.txt",
	}
	below := func(prefix string, names ...string) []string {
		out := []string{prefix + "/"}
		for _, n := range names {
			out = append(out, prefix+"/"+n)
		}
		slices.Sort(out)
		return out
	}
	for _, format := range gitalypb.GetArchiveRequest_Format_value {
		f := gitalypb.GetArchiveRequest_Format(format)
		want := everything
		if f == gitalypb.GetArchiveRequest_ZIP { // unzip spells control characters in its own way
			want = slices.DeleteFunc(slices.Clone(want), func(n string) bool { return strings.HasPrefix(n, "line") })
		}
		data, err := get(&gitalypb.GetArchiveRequest{CommitId: "main", Prefix: "tool-main", Format: f})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		got := slices.DeleteFunc(unpack(t, f, data), func(n string) bool {
			return f == gitalypb.GetArchiveRequest_ZIP && strings.Contains(n, "/line")
		})
		if diff := cmp.Diff(below("tool-main", want...), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f, diff)
		}
	}
	oid := strings.TrimSpace(x.feed(t, nil, "rev-parse", "main"))
	for _, tc := range []struct {
		name string
		req  *gitalypb.GetArchiveRequest
		want []string
	}{
		{"a directory", &gitalypb.GetArchiveRequest{Path: []byte("dir")}, []string{"dir/", "dir/a.txt", "dir/deep/", "dir/deep/b.txt"}},
		{"a file", &gitalypb.GetArchiveRequest{Path: []byte("dir/a.txt")}, []string{"dir/", "dir/a.txt"}},
		{"its path left out", &gitalypb.GetArchiveRequest{Path: []byte("dir/"), ElidePath: true}, []string{"a.txt", "deep/", "deep/b.txt"}},
		{"something left out", &gitalypb.GetArchiveRequest{Path: []byte("dir"), Exclude: [][]byte{[]byte("dir/deep")}}, []string{"dir/", "dir/a.txt"}},
		{"both", &gitalypb.GetArchiveRequest{Path: []byte("dir"), ElidePath: true, Exclude: [][]byte{[]byte("dir/deep")}}, []string{"a.txt"}},
		{"a name like a pattern", &gitalypb.GetArchiveRequest{Path: []byte(":(glob)**")}, []string{":(glob)**"}},
		{"a pattern's name left out", &gitalypb.GetArchiveRequest{Exclude: [][]byte{[]byte(":(glob)**")}},
			slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return n == ":(glob)**" })},
		{"a dash", &gitalypb.GetArchiveRequest{Path: []byte("-dash.md")}, []string{"-dash.md"}},
		{"a deep prefix", &gitalypb.GetArchiveRequest{Path: []byte("run"), Prefix: "a/b/"}, []string{"a/", "a/b/", "a/b/run"}},
	} {
		tc.req.CommitId, tc.req.Format = oid, gitalypb.GetArchiveRequest_TAR
		data, err := get(tc.req)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, unpack(t, tc.req.GetFormat(), data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRepositoryService_GetArchive_refused(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	for _, tc := range []struct {
		req  *gitalypb.GetArchiveRequest
		code codes.Code
		text string
	}{
		{&gitalypb.GetArchiveRequest{}, codes.InvalidArgument, "invalid commitId: empty revision"},
		{&gitalypb.GetArchiveRequest{CommitId: "--remote=x"}, codes.InvalidArgument, "invalid commitId: revision can't start with '-'"},
		{&gitalypb.GetArchiveRequest{CommitId: "main:dir"}, codes.InvalidArgument, "invalid commitId: revision can't contain ':'"},
		{&gitalypb.GetArchiveRequest{CommitId: "none"}, codes.FailedPrecondition, "revision doesn't exist"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Format: 9}, codes.InvalidArgument, "invalid format"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("none")}, codes.FailedPrecondition, "path doesn't exist"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("\xff")}, codes.FailedPrecondition, "path doesn't exist"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("../x")}, codes.InvalidArgument, "path is outside of the repository"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("a\x00")}, codes.InvalidArgument, "path is outside of the repository"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte(strings.Repeat("x/", 1<<19))}, codes.InvalidArgument, "path is too long"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("run"), ElidePath: true}, codes.InvalidArgument, "path is not a directory"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Exclude: [][]byte{[]byte("none")}}, codes.FailedPrecondition, "exclude[0] doesn't exist"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Exclude: [][]byte{[]byte(".")}}, codes.InvalidArgument, "invalid exclude: nothing would be left"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Path: []byte("dir"), ElidePath: true, Exclude: [][]byte{[]byte("run")}},
			codes.InvalidArgument, `invalid exclude: "run" is not a subdirectory of "dir"`},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Prefix: "../up"}, codes.InvalidArgument, "invalid prefix"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", Prefix: "/etc"}, codes.InvalidArgument, "invalid prefix"},
		{&gitalypb.GetArchiveRequest{CommitId: "main", IncludeLfsBlobs: true}, codes.Unimplemented, "include_lfs_blobs is not supported"},
	} {
		tc.req.Repository = x.repo
		_, err := gather(x.repos.GetArchive(t.Context(), tc.req))
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%.80v: %v, want %v %q", tc.req, err, tc.code, tc.text)
		}
	}
}
