package app_test

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

func TestFetchRemote(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t, o.reach)
	work := sampleHistory(t, "sha1")
	src := o.repo(t, "src.git", work)
	dir := b.create(t, "dst.git")
	fetch := func(alter func(*gitalypb.FetchRemoteRequest)) (*gitalypb.FetchRemoteResponse, error) {
		req := &gitalypb.FetchRemoteRequest{Repository: repository("dst.git"), CheckTagsChanged: true,
			RemoteParams: &gitalypb.Remote{Url: o.at("src.git"), ResolvedAddress: loopback, MirrorRefmaps: []string{"heads"}}}
		if alter != nil {
			alter(req)
		}
		return b.repos().FetchRemote(t.Context(), req)
	}
	check := func(what string, got *gitalypb.FetchRemoteResponse, err error, tags, repo bool, names string) {
		t.Helper()
		if err != nil || got.GetTagsChanged() != tags || got.GetRepoChanged() != repo {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		if have := strings.ReplaceAll(gitIn(t, dir, "for-each-ref", "--format=%(refname)"), "\n", " "); have != names {
			t.Errorf("%s: the repository has %s", what, have)
		}
	}
	got, err := fetch(func(r *gitalypb.FetchRemoteRequest) { r.NoTags = true })
	check("branches", got, err, false, true, "refs/heads/side refs/heads/trunk")
	got, err = fetch(nil)
	check("tags", got, err, true, true, "refs/heads/side refs/heads/trunk refs/tags/v1")
	got, err = fetch(nil)
	check("nothing new", got, err, false, false, "refs/heads/side refs/heads/trunk refs/tags/v1")
	gitIn(t, src, "update-ref", "-d", "refs/heads/side")
	got, err = fetch(func(r *gitalypb.FetchRemoteRequest) { r.NoPrune = true })
	check("no pruning", got, err, false, false, "refs/heads/side refs/heads/trunk refs/tags/v1")
	got, err = fetch(nil)
	check("pruning", got, err, false, true, "refs/heads/trunk refs/tags/v1")
	gitIn(t, work, "commit", "-q", "--amend", "-m", "rewritten")
	gitIn(t, work, "push", "-q", "-f", src, "HEAD:refs/heads/trunk", "HEAD:refs/heads/new")
	if _, err = fetch(nil); status.Code(err) != codes.FailedPrecondition || gitIn(t, dir, "rev-parse", "trunk") == gitIn(t, src, "rev-parse", "trunk") {
		t.Errorf("a branch that was rewritten: %v", err)
	}
	got, err = fetch(func(r *gitalypb.FetchRemoteRequest) { r.Force = true })
	check("force", got, err, false, true, "refs/heads/new refs/heads/trunk refs/tags/v1")
	got, err = fetch(func(r *gitalypb.FetchRemoteRequest) {
		r.NoPrune, r.CheckTagsChanged, r.RemoteParams.MirrorRefmaps = true, false, []string{"+refs/heads/*:refs/remotes/up/*"}
	})
	check("mapped", got, err, true, true, "refs/heads/new refs/heads/trunk refs/remotes/up/new refs/remotes/up/trunk refs/tags/v1")
	got, err = fetch(func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = nil })
	check("mirror", got, err, false, true, "refs/heads/new refs/heads/trunk refs/keep-around/x refs/tags/v1")
	b.assertClean(t, dir)
	refusedFetches(t, fetch)
}

func refusedFetches(t *testing.T, fetch func(func(*gitalypb.FetchRemoteRequest)) (*gitalypb.FetchRemoteResponse, error)) {
	t.Helper()
	for name, alter := range map[string]func(*gitalypb.FetchRemoteRequest){
		"no remote":         func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams = nil },
		"no URL":            func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.Url = "" },
		"option as refspec": func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = []string{"--upload-pack=id"} },
		"short refspec":     func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = []string{"main:main"} },
		"refspec goes up":   func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = []string{"refs/../x:refs/x"} },
		"one star":          func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = []string{"refs/*:refs/x"} },
		"two stars":         func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = []string{"refs/*/*:refs/*/*"} },
		"too many":          func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.MirrorRefmaps = make([]string, 10000) },
		"negative timeout":  func(r *gitalypb.FetchRemoteRequest) { r.Timeout = -1 },
	} {
		if _, err := fetch(alter); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFetchRemote_timeout: a server that says nothing is given up.
func TestFetchRemote_timeout(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t, o.reach)
	dir := b.create(t, "dst.git")
	o.set(func() { o.hook = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() } })
	_, err := b.repos().FetchRemote(t.Context(), &gitalypb.FetchRemoteRequest{Repository: repository("dst.git"), Timeout: 1,
		RemoteParams: &gitalypb.Remote{Url: o.URL + "/x.git"}})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("err = %v", err)
	}
	b.assertClean(t, dir)
}

func TestFetchSourceBranch(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	work := sampleHistory(t, "sha1")
	gitIn(t, x.bundle.dir, "clone", "-q", "--mirror", work, filepath.Join(x.bundle.dir, "other.git"))
	head, target := gitIn(t, work, "rev-parse", "HEAD"), "refs/merge-requests/1/head"
	fetch := func(source *gitalypb.Repository, branch, target, old string) (bool, error) {
		got, err := x.repos().FetchSourceBranch(t.Context(), &gitalypb.FetchSourceBranchRequest{
			Repository: x.repo, SourceRepository: source, SourceBranch: []byte(branch), TargetRef: []byte(target), ExpectedTargetOldOid: old})
		return got.GetResult(), err
	}
	if ok, err := fetch(repository("other.git"), "refs/heads/trunk", target, strings.Repeat("0", 40)); !ok || err != nil {
		t.Errorf("FetchSourceBranch = %v, %v", ok, err)
	}
	if got := gitIn(t, x.dir, "rev-parse", target); got != head {
		t.Errorf("the reference is %s, want %s", got, head)
	}
	if ok, err := fetch(x.repo, "refs/heads/main", target, head); !ok || err != nil || gitIn(t, x.dir, "rev-parse", target) != x.second {
		t.Errorf("from the same repository: %v, %v", ok, err)
	}
	for _, tc := range []struct {
		name                string
		source              *gitalypb.Repository
		branch, target, old string
		code                codes.Code
	}{
		{"no such branch", repository("other.git"), "refs/heads/none", target, "", codes.OK},
		{"has moved", repository("other.git"), "refs/heads/trunk", target, head, codes.Aborted},
		{"no source", nil, "refs/heads/trunk", target, "", codes.InvalidArgument},
		{"no branch", repository("other.git"), "", target, "", codes.InvalidArgument},
		{"an option", repository("other.git"), "--all", target, "", codes.InvalidArgument},
		{"a path", repository("other.git"), "HEAD:file", target, "", codes.InvalidArgument},
		{"no target", repository("other.git"), "refs/heads/trunk", "", "", codes.InvalidArgument},
		{"a short target", repository("other.git"), "refs/heads/trunk", "main", "", codes.InvalidArgument},
		{"a bad old id", repository("other.git"), "refs/heads/trunk", target, "HEAD", codes.InvalidArgument},
		{"a long name", repository("other.git"), strings.Repeat("a", 1<<20), target, "", codes.InvalidArgument},
	} {
		if ok, err := fetch(tc.source, tc.branch, tc.target, tc.old); ok || status.Code(err) != tc.code {
			t.Errorf("%s: %v, %v", tc.name, ok, err)
		}
	}
	quarantined := repository(rel)
	quarantined.GitObjectDirectory = "objects"
	_, err := x.repos().FetchSourceBranch(t.Context(), &gitalypb.FetchSourceBranchRequest{
		Repository: quarantined, SourceRepository: repository("other.git"), SourceBranch: []byte("refs/heads/trunk"), TargetRef: []byte(target)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("into a quarantine: %v", err)
	}
	x.assertClean(t, x.dir)
}

// snapshotOf makes the tar of a repository's references and objects, with more
// entries if there are any.
func snapshotOf(t *testing.T, dir string, more ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h *tar.Header, content []byte) {
		h.Size, h.Mode = int64(len(content)), 0o644
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"HEAD", "packed-refs", "refs/heads/*", "objects/??/*", "objects/pack/pack-*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, p := range paths {
			content, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(dir, p)
			add(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg}, content)
		}
	}
	for _, h := range more {
		var content []byte
		if h.Typeflag == tar.TypeReg {
			content = []byte("[core]\n\tfsmonitor = id\n")
		}
		add(h, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCreateRepositoryFromSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) { c.Remote.AllowLocalNetworks, c.Remote.MaxSnapshotBytes = true, 1<<20 })
	work := sampleHistory(t, "sha1")
	src := filepath.Join(t.TempDir(), "src.git")
	large := t.TempDir()
	if err := writeFile(filepath.Join(large, "refs/heads/large"), ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(large, "refs/heads/large"), 2<<20); err != nil {
		t.Fatal(err)
	}
	gitIn(t, work, "clone", "-q", "--mirror", work, src)
	gitIn(t, src, "pack-refs", "--all")
	good := snapshotOf(t, src)
	answers := map[string][]byte{
		"/good": good, "/cut": good[:len(good)/2], "/text": []byte("hello"), "/nothing": nil,
		"/config":  snapshotOf(t, src, &tar.Header{Name: "config", Typeflag: tar.TypeReg}),
		"/hook":    snapshotOf(t, src, &tar.Header{Name: "custom_hooks/update", Typeflag: tar.TypeReg}),
		"/borrow":  snapshotOf(t, src, &tar.Header{Name: "objects/info/alternates", Typeflag: tar.TypeReg}),
		"/up":      snapshotOf(t, src, &tar.Header{Name: "refs/../../x", Typeflag: tar.TypeReg}),
		"/symlink": snapshotOf(t, src, &tar.Header{Name: "refs/heads/link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}),
		"/holes":   []byte(runProgram(t, nil, "tar", "--format=pax", "-S", "-c", "-C", large, "refs/heads/large")),
		"/large":   []byte(runProgram(t, nil, "tar", "-c", "-C", large, "refs/heads/large")),
		"/badref":  snapshotOf(t, src, &tar.Header{Name: "refs/heads/bad", Typeflag: tar.TypeReg}),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case !ok || r.Header.Get("Authorization") != "Bearer s3cret-token":
			http.Error(w, r.Header.Get("Authorization"), http.StatusForbidden)
		default:
			_, _ = io.Copy(w, bytes.NewReader(answer))
		}
	}))
	t.Cleanup(server.Close)
	create := func(path, auth string) error {
		_, err := b.repos().CreateRepositoryFromSnapshot(t.Context(), &gitalypb.CreateRepositoryFromSnapshotRequest{
			Repository: repository("snap.git"), HttpUrl: server.URL + path, HttpAuth: auth})
		return err
	}
	for path, code := range map[string]codes.Code{
		"/cut": codes.InvalidArgument, "/text": codes.InvalidArgument, "/config": codes.InvalidArgument, "/hook": codes.InvalidArgument,
		"/borrow": codes.InvalidArgument, "/up": codes.InvalidArgument, "/symlink": codes.InvalidArgument, "/badref": codes.InvalidArgument,
		"/holes": codes.InvalidArgument, "/large": codes.ResourceExhausted,
		"/moved": codes.FailedPrecondition, "/none": codes.FailedPrecondition,
	} {
		if err := create(path, "Bearer s3cret-token"); status.Code(err) != code {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := create("/good", "Bearer wrong-token"); status.Code(err) != codes.FailedPrecondition || strings.Contains(err.Error(), "wrong-token") {
		t.Errorf("wrong token: %v", err)
	}
	b.assertNoTemp(t)
	if err := create("/good?wiki=1", "Bearer s3cret-token"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "snap.git")
	if got, want := refsOf(t, dir), refsOf(t, src); got != want {
		t.Errorf("the repository has\n%s\nwant\n%s", got, want)
	}
	b.assertClean(t, dir)
	b.assertUntold(t, "s3cret-token", "wrong-token")
}
