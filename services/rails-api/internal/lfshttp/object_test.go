package lfshttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/uploaded/uploadedtest"
	"gitsplit/services/rails-api/internal/visibility"
)

const (
	content    = "content"
	contentOID = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
)

func upload(path, oid string, size int) string {
	return fmt.Sprintf("/%s.git/gitlab-lfs/objects/%s/%d", path, oid, size)
}

// put does what workhorse does with an upload that it has stored.
func (b *bench) put(c caller, url, content string, change ...func(fields map[string]string)) answer {
	b.TB.Helper()
	_, err := b.Files.Destination(b.TB.Context(), 0)
	b.Must(err)
	fields := uploadedtest.Store(b.TB, b.Files.TempDir(), "upload", content)
	for _, f := range change {
		f(fields)
	}
	return b.do(c, uploadedtest.Request(b.TB, secret, http.MethodPut, url, "file", fields))
}

// TestAuthorize: workhorse learns where an object goes, once the caller may push.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	p := b.Project(ada.NamespaceID, "p", visibility.Public)
	b.Member(member.OfProject(p.ID), eve, member.Reporter)
	url := upload("ada/p", contentOID, 7) + "/authorize"
	ask := func(c caller, url string) answer {
		return b.do(c, uploadedtest.Sign(t, secret, httptest.NewRequestWithContext(t.Context(), http.MethodPut, url, nil)))
	}
	got := ask(b.person(ada), url)
	var answer struct {
		TempPath, LfsOid     string
		MaximumSize, LfsSize int64
		UploadHashFunctions  []string
	}
	err := json.Unmarshal(got.Body.Bytes(), &answer)
	if err != nil || got.Header().Get("Content-Type") != "application/vnd.gitlab-workhorse+json" || answer.TempPath != b.Files.TempDir() ||
		answer.LfsOid != contentOID || answer.LfsSize != 7 || answer.MaximumSize != 7 || fmt.Sprint(answer.UploadHashFunctions) != "[sha256]" {
		t.Errorf("%d %s, %v", got.Code, got.Body, err)
	}
	if got := ask(b.person(ada), upload("ada/p", contentOID, 0)+"/authorize"); !strings.Contains(got.Body.String(), `"MaximumSize":1,`) {
		t.Errorf("an empty object without limit: %s", got.Body)
	}
	ask(caller{}, url).want("anonymous", 401, denied+"…")
	ask(b.person(eve), url).want("reporter", 403, forbidden)
	b.send(b.person(ada), http.MethodPut, url, "").want("not from workhorse", 403, forbidden)
	for _, odd := range []string{
		upload("ada/p", strings.ToUpper(contentOID), 7), upload("ada/p", contentOID[1:], 7), upload("ada/p", contentOID, -1), upload("ada/p", contentOID, 7) + "0000000000000000000",
	} {
		if got := ask(b.person(ada), odd+"/authorize"); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", odd, got.Code)
		}
	}
}

// TestStore: an object is kept once, for each project that has brought its content, and for nobody else.
func TestStore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	p, q := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(eve.NamespaceID, "q", visibility.Private)
	files, ctx := lfs.New(b.DB), t.Context()
	b.put(b.person(ada), upload("ada/p", contentOID, 7), content).want("first", 200, "")
	o, err := files.Get(ctx, p.ID, contentOID)
	b.Must(err)
	if size, err := b.Files.Size(ctx, o.Key()); err != nil || size != 7 {
		t.Errorf("stored %d, %v", size, err)
	}
	b.put(b.person(ada), upload("ada/p", contentOID, 7), content).want("again", 200, "")
	if _, err := files.Get(ctx, q.ID, contentOID); err == nil {
		t.Error("another project has the object")
	}
	b.put(b.person(eve), upload("eve/q", contentOID, 7), content).want("by somebody else", 200, "")
	if same, err := files.Get(ctx, q.ID, contentOID); err != nil || same != o {
		t.Errorf("kept twice: %+v, %v", same, err)
	}
	var rows int
	if err := b.DB.QueryRow(ctx, "SELECT count(*) FROM lfs_objects").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestStore_refused: what was not proven is not linked.
func TestStore_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	theirs := b.LFSObject(b.Project(eve.NamespaceID, "q", visibility.Private), content)
	mine, url := b.person(ada), upload("ada/p", theirs.OID, 7)
	for name, change := range map[string]struct {
		url, content string
		change       func(map[string]string)
	}{
		"other content": {url, "CONTENT", func(map[string]string) {}},
		"other size":    {upload("ada/p", theirs.OID, 8), content, func(map[string]string) {}},
		"no sum":        {url, content, func(f map[string]string) { f["sha256"] = "" }},
	} {
		if got := b.put(mine, change.url, change.content, change.change); got.Code != 400 || got.Body.String() != "SHA256 or size mismatch" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	b.put(mine, url, content, func(f map[string]string) { f["path"] = filepath.Join(f["path"], "..", "..", "..", theirs.Key()) }).want("a path elsewhere", 403, forbidden)
	b.put(b.person(eve), url, content).want("no member", 404, notFound)
	b.put(caller{}, url, content).want("anonymous", 401, denied+"…")
	unsigned := httptest.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("file.sha256="+theirs.OID+"&file.size=7"))
	unsigned.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(mine, unsigned).want("not from workhorse", 403, forbidden)
	signed := httptest.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("file.sha256="+theirs.OID+"&file.size=7"))
	signed.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(mine, uploadedtest.Sign(t, secret, signed)).want("without a file", 403, forbidden)
	if _, err := lfs.New(b.DB).Get(t.Context(), p.ID, theirs.OID); err == nil {
		t.Error("the object was linked")
	}
}

// TestStore_tokenEnds: the token counts as of when the upload began.
func TestStore_tokenEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	began := b.Time
	b.Time = began.Add(-lfstoken.Lifetime - time.Minute)
	c := b.lfs("ada", lfstoken.Grant{Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID, Upload: true}, &ada)
	b.Time = began
	took := func(seconds string) func(map[string]string) {
		return func(f map[string]string) { f["upload_duration"] = seconds }
	}
	b.put(c, upload("ada/p", contentOID, 7), content, took("5")).want("began too late", 401, denied+"…")
	b.put(c, upload("ada/p", contentOID, 7), content, took("600")).want("began in time", 200, "")
}

// TestDownload: workhorse gets the file to send for a project that has the object.
func TestDownload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p, q := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "q", visibility.Public)
	o, open := b.LFSObject(p, content), b.LFSObject(q, "open")
	get := func(c caller, method, path, oid string) answer {
		return b.send(c, method, "/"+path+".git/gitlab-lfs/objects/"+oid, "")
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := get(b.person(ada), method, "ada/p", o.OID)
		h := got.Header()
		if got.Code != 200 || !strings.HasSuffix(h.Get("X-Sendfile"), "/"+o.Key()) || h.Get("Content-Type") != "application/octet-stream" ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %d %v", method, got.Code, h)
		}
	}
	if got := get(caller{}, http.MethodGet, "ada/q", open.OID); got.Code != 200 || got.Header().Get("X-Sendfile") == "" {
		t.Errorf("public: %d %s", got.Code, got.Body)
	}
	get(b.person(ada), http.MethodGet, "ada/q", o.OID).want("of another project", 404, notFound)
	get(b.person(ada), http.MethodGet, "ada/p", absent).want("absent", 404, notFound)
	get(b.person(b.User("eve")), http.MethodGet, "ada/p", o.OID).want("stranger", 404, notFound)
	get(caller{}, http.MethodGet, "ada/p", o.OID).want("anonymous", 401, denied+"…")
	off := false
	_, err := project.New(b.DB).Update(t.Context(), q.ID, project.Changes{LFSEnabled: &off})
	b.Must(err)
	get(caller{}, http.MethodGet, "ada/q", open.OID).want("LFS is off", 403, forbidden)
}
