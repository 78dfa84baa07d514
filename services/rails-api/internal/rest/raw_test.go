package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// handed is what rails-api tells workhorse to send.
type handed struct {
	kind         string
	GitalyServer struct {
		Address      string
		CallMetadata map[string]string `json:"call_metadata"`
	}
	GetBlobRequest struct {
		Repository struct {
			RelativePath string `json:"relative_path"`
			GLRepository string `json:"gl_repository"`
		}
		Oid   string
		Limit int
	}
	GetArchiveRequest, ArchivePath, StoragePath         string
	RawDiffRequest, RawPatchRequest, GetSnapshotRequest string
	DisableCache                                        bool
}

func handedBy(t *testing.T, h http.Header) handed {
	t.Helper()
	kind, params, _ := strings.Cut(h.Get("Gitlab-Workhorse-Send-Data"), ":")
	raw, err := base64.URLEncoding.DecodeString(params)
	got := handed{kind: kind}
	if err == nil {
		err = json.Unmarshal(raw, &got)
	}
	if err != nil {
		t.Fatalf("Send-Data %q: %v", h.Get("Gitlab-Workhorse-Send-Data"), err)
	}
	return got
}

// web fetches a web address; the token may be "".
func (b *bench) web(token, path string, headers ...string) *httptest.ResponseRecorder {
	b.tb.Helper()
	r := httptest.NewRequestWithContext(b.tb.Context(), http.MethodGet, path, nil)
	r.Header.Set("X-Forwarded-For", "198.51.100.4")
	if token != "" {
		r.Header.Set("Private-Token", token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	return w
}

func TestFiles_raw(t *testing.T) {
	t.Parallel()
	b, _, dev, _ := filled(t)
	a := b.as(dev).get(repository+"files/lib%2Fdeep%2Fa%2Etxt/raw").text(200, "").header("Content-Type", "text/plain; charset=utf-8").
		header("Content-Disposition", "attachment; filename=a.txt").header("X-Content-Type-Options", "nosniff").
		header("X-Gitlab-Blob-Id", commitID(7)).header("X-Gitlab-Size", "300000").header("X-Gitlab-Ref", "main").header("Etag", `"`+commitID(7)+`"`)
	got := handedBy(t, a.Header())
	if got.kind != "git-blob" || got.GetBlobRequest.Oid != commitID(7) || got.GetBlobRequest.Limit != -1 || got.GitalyServer.Address != "unix:/none" ||
		!strings.HasPrefix(got.GetBlobRequest.Repository.RelativePath, "@hashed/") || got.GitalyServer.CallMetadata["username"] != "dev" {
		t.Errorf("handed over %+v", got)
	}
	b.as(dev).send(http.MethodHead, repository+"files/bin%2Frun/raw?ref=v1", nil).text(200, "").header("X-Gitlab-Execute-Filemode", "true")
	b.as(dev).get(repository+"files/bin/run/raw?ref=v1").text(200, "")
	b.as(dev).get(repository+"files/bin/raw").text(404, `{"message":"404 File Not Found"}`).header("Gitlab-Workhorse-Send-Data", "")
	b.as(dev).get(repository+"files/absent/raw").text(404, `{"message":"404 File Not Found"}`)
	b.as(dev).get(repository+"files/README.md/raw?ref=absent").text(404, `{"message":"404 Commit Not Found"}`)
	b.as(dev).get(repository+"files/..%2F..%2Fetc%2Fpasswd/raw").text(400, `{"error":"file_path should be a valid file path"}`)
	b.as(dev).get(repository+"files/%2Fetc%2Fpasswd/raw").text(404, `{"message":"404 File Not Found"}`)
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	b, _, dev, guest := filled(t)
	b.as(dev).get(repository+"blobs/"+commitID(7)).text(200, `{"size":5,"encoding":"base64","content":"IyBoaQo=","sha":"`+commitID(7)+`"}`)
	a := b.as(dev).get(repository+"blobs/"+commitID(7)+"/raw").text(200, "").header("Content-Disposition", "attachment; filename="+commitID(7))
	if got := handedBy(t, a.Header()); got.kind != "git-blob" || got.GetBlobRequest.Oid != commitID(7) {
		t.Errorf("handed over %+v", got)
	}
	for _, id := range []string{commitID(8), "main", "--all", commitID(7)[:20], "main:README.md"} {
		b.as(dev).get(repository+"blobs/"+id+"/raw").text(404, `{"message":"404 Blob Not Found"}`)
		b.as(dev).get(repository+"blobs/"+id).text(404, `{"message":"404 Blob Not Found"}`)
	}
	b.as(guest).get(repository + "blobs/" + commitID(7) + "/raw").want(403)
	b.as(person{}).get(repository + "blobs/" + commitID(7) + "/raw").want(404)
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	b, ann, _, _ := filled(t)
	got := handedBy(t, b.as(b.root).get("projects/ann%2Fp/snapshot").want(200).Header())
	var req gitalypb.GetSnapshotRequest
	b.must(protojson.Unmarshal([]byte(got.GetSnapshotRequest), &req))
	if got.kind != "git-snapshot" || !strings.HasPrefix(req.GetRepository().GetRelativePath(), "@hashed/") {
		t.Errorf("handed over %+v", got)
	}
	b.as(ann).get("projects/ann%2Fp/snapshot").want(403)
	b.as(b.root).get("projects/ann%2Fp/snapshot?wiki=true").want(404)
}

// The table of archives: what is asked for, and what workhorse is told to send.
func TestArchives(t *testing.T) {
	t.Parallel()
	b, ann, dev, guest := filled(t)
	const api, web = "/api/v4/projects/ann%2Fp/repository/archive", "/ann/p/-/archive/"
	head, first := commitID(45), commitID(1)
	for _, tc := range []struct {
		url, name string
		format    gitalypb.GetArchiveRequest_Format
		commit    string
	}{
		{api, "p-main-" + head + ".tar.gz", gitalypb.GetArchiveRequest_TAR_GZ, head},
		{api + ".zip?sha=v1", "p-v1-" + first + ".zip", gitalypb.GetArchiveRequest_ZIP, first},
		{api + ".tar.bz2?sha=feat/001&path=lib/deep", "p-feat-001-" + head + "-lib-deep.tar.bz2", gitalypb.GetArchiveRequest_TAR_BZ2, head},
		{api + ".tar?sha=" + first, "p-" + first + "-" + first + ".tar", gitalypb.GetArchiveRequest_TAR, first},
		{web + "main/p-main.zip", "p-main.zip", gitalypb.GetArchiveRequest_ZIP, head},
		{web + "main/other.tgz", "p-main-" + head + ".tgz", gitalypb.GetArchiveRequest_TAR_GZ, head},
		{web + "feat/001/p-feat-001.tar.bz2", "p-feat-001.tar.bz2", gitalypb.GetArchiveRequest_TAR_BZ2, head},
		{web + "feat%2F001/p-feat-001.tar", "p-feat-001.tar", gitalypb.GetArchiveRequest_TAR, head},
	} {
		w := b.web(dev.token, tc.url)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", tc.url, w.Code, w.Body)
			continue
		}
		got := handedBy(t, w.Header())
		raw, err := base64.StdEncoding.DecodeString(got.GetArchiveRequest)
		b.must(err)
		var req gitalypb.GetArchiveRequest
		b.must(proto.Unmarshal(raw, &req))
		stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(tc.name, ".zip"), ".gz"), ".bz2"), ".tar"), ".tgz")
		if got.kind != "git-archive" || req.GetCommitId() != tc.commit || req.GetFormat() != tc.format || req.GetPrefix() != stem ||
			got.ArchivePath != "/downloads/project-1/"+tc.commit+"/@v2/"+tc.name || got.StoragePath != "/downloads" ||
			got.DisableCache != (len(req.GetPath()) > 0) {
			t.Errorf("%s: %+v, %v", tc.url, got, &req)
		}
		if again := b.web(dev.token, tc.url, "If-None-Match", `"x", `+w.Header().Get("Etag")); again.Code != 304 || again.Header().Get("Gitlab-Workhorse-Send-Data") != "" {
			t.Errorf("%s again: %d", tc.url, again.Code)
		}
	}
	for url, status := range map[string]int{
		api + ".rar": 404, api + "?sha=absent": 404, api + "?sha=--all": 404, api + "?path=../x": 400, web + "main/p.rar": 404, web + "absent/p.zip": 404, web + "main/p.zip?path=../x": 404,
	} {
		if w := b.web(dev.token, url); w.Code != status || w.Header().Get("Gitlab-Workhorse-Send-Data") != "" {
			t.Errorf("%s: %d, want %d", url, w.Code, status)
		}
	}
	for token, status := range map[string]int{"": 404, guest.token: 403, "nonsense": 401, ann.token: 200} {
		if a, w := b.web(token, api), b.web(token, web+"main/p-main.zip"); a.Code != status || w.Code != status {
			t.Errorf("token %.5q: %d and %d, want %d", token, a.Code, w.Code, status)
		}
	}
}

func TestWeb_raw(t *testing.T) {
	t.Parallel()
	b, ann, dev, _ := filled(t)
	for url, name := range map[string]string{
		"/ann/p/-/raw/main/README.md": "README.md", "/ann/p/-/raw/feat/001/lib/deep/a.txt": "a.txt", "/ann/p/-/raw/feat%2F001/bin/run": "run",
		"/ann/p/-/raw/" + commitID(1) + "/bin%2Frun": "run", "/ANN/P/-/raw/v1/README.md": "README.md",
	} {
		w := b.web(dev.token, url)
		if w.Code != 200 || w.Header().Get("Content-Disposition") != "attachment; filename="+name || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %v", url, w.Code, w.Header())
			continue
		}
		if got := handedBy(t, w.Header()); got.kind != "git-blob" || got.GetBlobRequest.Oid != commitID(7) || got.GitalyServer.CallMetadata["remote_ip"] != "198.51.100.4" {
			t.Errorf("%s: handed over %+v", url, got)
		}
	}
	for _, url := range []string{
		"/ann/p/-/raw/main/absent", "/ann/p/-/raw/main/bin", "/ann/p/-/raw/main/", "/ann/p/-/raw/absent/README.md", "/ann/p/-/raw/main/..%2FREADME.md",
		"/ann/p/-/raw/main/%00", "/ann/absent/-/raw/main/README.md", "/1/-/raw/main/README.md", "/ann/p/-/raw/main..v1/README.md",
	} {
		if w := b.web(dev.token, url); w.Code != 404 {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
	if w := b.web("", "/ann/p/-/raw/main/README.md"); w.Code != 404 || w.Body.String() != "Not Found\n" {
		t.Errorf("a stranger: %d %s", w.Code, w.Body)
	}
	if w := b.web(dev.token, "/ann/p/-/raw/main/README.md", "If-None-Match", `W/"`+commitID(7)+`"`); w.Code != 304 {
		t.Errorf("unchanged: %d", w.Code)
	}
	b.as(ann).put("projects/ann%2Fp", map[string]any{"path": "q"}).want(200)
	w := b.web(dev.token, "/ann/p/-/raw/main/README.md?private_token=x&a=b")
	if w.Code != 301 || w.Header().Get("Location") != "https://git.example/ann/q/-/raw/main/README.md?a=b" {
		t.Errorf("moved: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestWeb_commit(t *testing.T) {
	t.Parallel()
	b, _, dev, _ := filled(t)
	for url, want := range map[string][3]string{
		"/ann/p/-/commit/" + commitID(45) + ".diff":  {"git-diff", commitID(44), commitID(45)},
		"/ann/p/-/commit/" + commitID(45) + ".patch": {"git-format-patch", commitID(44), commitID(45)},
		"/ann/p/-/commit/" + commitID(1) + ".diff":   {"git-diff", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", commitID(1)},
	} {
		w := b.web(dev.token, url)
		got := handedBy(t, w.Header())
		var req gitalypb.RawDiffRequest
		b.must(protojson.Unmarshal([]byte(got.RawDiffRequest+got.RawPatchRequest), &req))
		if w.Code != 200 || got.kind != want[0] || req.GetLeftCommitId() != want[1] || req.GetRightCommitId() != want[2] {
			t.Errorf("%s: %d %+v", url, w.Code, got)
		}
	}
	for _, url := range []string{"/ann/p/-/commit/absent.diff", "/ann/p/-/commit/" + commitID(45) + ".zip", "/ann/p/-/commit/--all.diff"} {
		if w := b.web(dev.token, url); w.Code != 404 {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	b, _, dev, guest := filled(t)
	var got struct {
		Commit         *struct{ ID string }
		Commits        []struct{ ID string }
		Diffs          []map[string]any
		CompareSameRef bool   `json:"compare_same_ref"`
		WebURL         string `json:"web_url"`
	}
	b.as(dev).get(repository + "compare?from=v1&to=main&unidiff=true").want(200).into(&got)
	if got.Commit == nil || got.Commit.ID != commitID(45) || got.Commits[len(got.Commits)-1].ID != commitID(45) || len(got.Diffs) != 4 || got.WebURL != "https://git.example/ann/p/-/compare/v1...main" {
		t.Errorf("compared: %+v", got)
	}
	if d := got.Diffs[1]; d["diff"] != "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+n\n" || d["new_file"] != true || d["a_mode"] != "0" || d["b_mode"] != "100644" {
		t.Errorf("new file: %v", d)
	}
	b.as(dev).get(repository+"compare?from=main&to=absent").text(404, `{"message":"404 Ref Not Found"}`)
	b.as(dev).get(repository + "compare?from=main").want(400)
	b.as(guest).get(repository + "compare?from=main&to=v1").want(403)

	diff := repository + "commits/main/diff"
	list := b.as(dev).get(diff+"?per_page=2").header("X-Next-Page", "2").list()
	if len(list) != 2 || list[0]["diff"] != "@@ -1 +1 @@\n-x\n+\uFFFD\n" || list[0]["b_mode"] != "100755" || list[0]["renamed_file"] != false {
		t.Errorf("first page: %v", list)
	}
	list = b.as(dev).get(diff+"?per_page=2&page=2").header("X-Next-Page", "").list()
	if len(list) != 2 || list[0]["deleted_file"] != true || list[0]["too_large"] != true || list[1]["renamed_file"] != true {
		t.Errorf("second page: %v", list)
	}
	b.as(dev).get(repository+"commits/absent/diff").text(404, `{"message":"404 Commit Not Found"}`)
}
