package app_test

import (
	"context"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/app"
)

// archiveRequest is what rails-api has gitaly asked.
func archiveRequest(t *testing.T, format gitalypb.GetArchiveRequest_Format) string {
	t.Helper()
	raw, err := proto.Marshal(&gitalypb.GetArchiveRequest{
		Repository: &gitalypb.Repository{StorageName: "default", RelativePath: "@hashed/aa/bb.git"}, CommitId: oid, Prefix: "app-main", Format: format,
	})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// files lists the files below a directory.
func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestArchive_formats(t *testing.T) {
	t.Parallel()
	const zip, octets = "application/zip", "application/octet-stream"
	for _, tc := range []struct {
		path, name, kind string
		status           int
		disposition      string
	}{
		{"/api/v4/projects/1/repository/archive", "app-main.tar.gz", octets, 200, `attachment; filename="app-main.tar.gz"`},
		{"/api/v4/projects/1/repository/archive.zip", "app-main.zip", zip, 200, `attachment; filename="app-main.zip"`},
		{"/g/app/-/archive/main/app-main.tar.bz2", "app-main.tar.bz2", octets, 200, `attachment; filename="app-main.tar.bz2"`},
		{"/g/app/-/archive/main/app-main.tar", "app-main.tar", octets, 200, `attachment; filename="app-main.tar"`},
		{"/g/app/-/archive/main/app-main.rar", "app-main.rar", "text/plain; charset=utf-8", 500, ""},
		{"/g/app/-/archive/main/x.zip", "a\"b\nc.zip", zip, 200, `attachment; filename*=utf-8''a%22b%0Ac.zip`},
		{"/g/app/-/archive/main/x.zip", "日本.zip", zip, 200, `attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.zip`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			params := map[string]any{"GetArchiveRequest": archiveRequest(t, 0), "ArchivePath": "/cache/project-1/" + tc.name, "DisableCache": true}
			s.delegate(s.sendData("git-archive", params), 0, nil, "files")
			res, body := s.do("GET", tc.path, nil)
			if res.StatusCode != tc.status || (tc.status == 200) != (body == "files") {
				t.Errorf("answer %d %q", res.StatusCode, body)
			}
			checkLine(t, res, "Content-Type: "+tc.kind)
			checkLine(t, res, "Content-Disposition: "+tc.disposition)
			checkLine(t, res, "X-Content-Type-Options: nosniff")
			checkLine(t, res, "Set-Cookie: "+map[bool]string{true: "", false: "a=b"}[tc.status == 200])
		})
	}
}

// The fields of an older rails-api: the format follows from the path.
func TestArchive_legacy(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.delegate(s.sendData("git-archive", map[string]any{"GitalyRepository": map[string]any{"relative_path": "@hashed/aa/bb.git"},
		"CommitId": oid, "ArchivePrefix": "pre", "ArchivePath": "x.tar.bz2"}), 0, nil)
	var asked *gitalypb.GetArchiveRequest
	s.gitaly.data.serve = func(_ context.Context, req proto.Message, _ func(string) error) error {
		asked, _ = req.(*gitalypb.GetArchiveRequest)
		return nil
	}
	s.do("GET", "/g/app/-/archive/x.tar.bz2", nil)
	if asked.GetCommitId() != oid || asked.GetPrefix() != "pre" || asked.GetFormat() != gitalypb.GetArchiveRequest_TAR_BZ2 || asked.GetRepository().GetRelativePath() != "@hashed/aa/bb.git" {
		t.Errorf("asked %v", asked)
	}
}

func TestArchive_cache(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Archives.Size = 1000 })
	dir := filepath.Join(t.TempDir(), "downloads")
	const entry = "project-1/" + oid + "/@v2/app-main.zip"
	params := map[string]any{"GetArchiveRequest": archiveRequest(t, 0), "ArchivePath": dir + "/" + entry, "StoragePath": dir, "UseArchiveCleaner": true}
	get := func(method, want string, status int, headers ...string) {
		t.Helper()
		res, body := s.do(method, "/archive.zip", nil, headers...)
		if res.StatusCode != status || body != want {
			t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, status, want)
		}
		checkLine(t, res, "Last-Modified: ")
		checkLine(t, res, `Content-Disposition: attachment; filename="app-main.zip"`)
	}
	s.delegate(s.sendData("git-archive", params), 0, nil, "the ", "files")
	get("HEAD", "", 200)
	if _, err := os.Stat(dir + "/project-1"); err == nil {
		t.Error("HEAD made an archive")
	}
	get("GET", "the files", 200, "Range", "bytes=0-2") // a fresh one comes whole
	if got := files(t, dir); got != entry {
		t.Fatalf("kept: %q", got)
	}
	if info, err := os.Stat(dir + "/" + entry); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	s.delegate(s.sendData("git-archive", params), 0, status.Error(codes.Unavailable, "down"))
	get("GET", "the files", 200)
	get("HEAD", "", 200)
	get("GET", "the", 206, "Range", "bytes=0-2")

	if err := os.Symlink(t.TempDir(), dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]map[string]any{
		"disabled":        {"DisableCache": true},
		"outside":         {"ArchivePath": dir + "/../other.zip"},
		"the root itself": {"ArchivePath": dir},
		"relative":        {"StoragePath": "."},
		"no storage path": {"StoragePath": ""},
		"through a link":  {"ArchivePath": dir + "/link/x.zip"},
	} {
		with := map[string]any{}
		for _, m := range []map[string]any{params, change} {
			for key, value := range m {
				with[key] = value
			}
		}
		s.delegate(s.sendData("git-archive", with), 0, nil, "fresh")
		if res, body := s.do("GET", "/archive.zip", nil); res.StatusCode != 200 || body != "fresh" {
			t.Errorf("%s: %d %q", name, res.StatusCode, body)
		}
		if got := files(t, dir); got != "link "+entry {
			t.Errorf("%s: kept %q", name, got)
		}
	}
}

// Half an archive is not kept, nor one that is larger than the cache; the client of
// the latter gets it all the same.
func TestArchive_notKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Archives.Size = 1000 })
	dir := t.TempDir()
	params := map[string]any{"GetArchiveRequest": archiveRequest(t, 0), "ArchivePath": dir + "/project-1/a.zip", "StoragePath": dir}
	big := strings.Repeat("x", 1001)
	s.delegate(s.sendData("git-archive", params), 0, nil, big)
	if res, body := s.do("GET", "/a.zip", nil); res.StatusCode != 200 || body != big {
		t.Errorf("large: %d, %d bytes", res.StatusCode, len(body))
	}
	s.delegate(s.sendData("git-archive", params), 0, status.Error(codes.Unavailable, "down"))
	if res, _ := s.do("GET", "/a.zip", nil); res.StatusCode != 503 {
		t.Errorf("gitaly down: %d", res.StatusCode)
	}
	s.delegate(s.sendData("git-archive", params), 0, status.Error(codes.Internal, "broken"), "half")
	s.cutShort("/a.zip", "half")
	if got := files(t, dir); got != "" {
		t.Errorf("kept: %q", got)
	}
	if err := os.WriteFile(dir+"/project-2", nil, 0o600); err != nil { // in the way of a directory
		t.Fatal(err)
	}
	params["ArchivePath"] = dir + "/project-2/a.zip"
	s.delegate(s.sendData("git-archive", params), 0, nil, "fresh")
	if res, body := s.do("GET", "/a.zip", nil); res.StatusCode != 200 || body != "fresh" {
		t.Errorf("no cache: %d %q", res.StatusCode, body)
	}
}
