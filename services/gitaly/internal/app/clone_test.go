package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func TestCreateRepositoryFromURL(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t, o.reach)
	for _, format := range []string{"sha1", "sha256"} {
		src := o.repo(t, format+".git", sampleHistory(t, format))
		for _, mirror := range []bool{false, true} {
			place := repository(format + map[bool]string{true: "-mirror"}[mirror] + ".git")
			_, err := b.repos().CreateRepositoryFromURL(t.Context(), &gitalypb.CreateRepositoryFromURLRequest{
				Repository: place, Url: o.at(format + ".git"), ResolvedAddress: loopback, Mirror: mirror,
			})
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(b.dir, place.GetRelativePath())
			patterns := []string{"refs/heads", "refs/tags"}
			if mirror {
				patterns = nil
			}
			if got, want := refsOf(t, dir), refsOf(t, src, patterns...); got != want {
				t.Errorf("%s, mirror %v:\n%s\nwant\n%s", format, mirror, got, want)
			}
			b.assertClean(t, dir)
			if config := gitIn(t, dir, "config", "--list", "--local"); strings.Contains(config, "remote.") {
				t.Errorf("configuration has a remote:\n%s", config)
			}
		}
	}
	o.repo(t, "empty.git", "")
	if _, err := b.repos().CreateRepositoryFromURL(t.Context(), &gitalypb.CreateRepositoryFromURLRequest{
		Repository: repository("empty.git"), Url: o.URL + "/empty.git"}); err != nil {
		t.Errorf("an empty repository: %v", err)
	}
	_, err := b.repos().CreateRepositoryFromURL(t.Context(), &gitalypb.CreateRepositoryFromURLRequest{
		Repository: repository("empty.git"), Url: o.URL + "/sha1.git"})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("a place that is taken: %v", err)
	}
	b.assertNoTemp(t)
}

// TestCreateRepositoryFromURL_credentials: who may read, and that nobody reads the
// password.
func TestCreateRepositoryFromURL_credentials(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t, o.reach)
	o.repo(t, "private.git", sampleHistory(t, "sha1"))
	o.set(func() { o.user, o.pass = "ada", "s3cret/pass word" })
	encoded := base64.StdEncoding.EncodeToString([]byte(o.user + ":" + o.pass))
	withUser := strings.Replace(o.at("private.git"), "https://", "https://ada:s3cret%2Fpass%20word@", 1)
	for name, req := range map[string]*gitalypb.CreateRepositoryFromURLRequest{
		"url.git":    {Url: withUser},
		"header.git": {Url: o.at("private.git"), HttpAuthorizationHeader: "Basic " + encoded},
	} {
		req.Repository, req.ResolvedAddress = repository(name), loopback
		if _, err := b.repos().CreateRepositoryFromURL(t.Context(), req); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := base64.StdEncoding.EncodeToString([]byte("ada:wrongword"))
	for name, req := range map[string]*gitalypb.CreateRepositoryFromURLRequest{
		"wrong password": {Url: strings.Replace(withUser, "s3cret%2Fpass%20word", "wrongword", 1)},
		"wrong header":   {Url: o.at("private.git"), HttpAuthorizationHeader: "Basic " + wrong},
		"none":           {Url: o.at("private.git")},
	} {
		req.Repository, req.ResolvedAddress = repository("refused.git"), loopback
		_, err := b.repos().CreateRepositoryFromURL(t.Context(), req)
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
		for _, secret := range []string{"wrongword", wrong} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells %q: %v", name, secret, err)
			}
		}
	}
	b.assertUntold(t, encoded, wrong, "wrongword", "s3cret")
	b.assertNoTemp(t)
}

func TestRemote_hostileURLs(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	secret := sampleHistory(t, "sha1")
	b := setup(t, o.reach)
	for _, url := range []string{
		"", "--upload-pack=touch /tmp/x", "ext::sh -c id", "file://" + secret, secret, "-oProxyCommand=id", "ssh://-oProxyCommand=id/x",
		"git://127.0.0.1/x", "fd::3", "https://", "https:///x", "https://a b/", "https://example.com/a\nb", "https://example.com/\x00", "http://host:0/x", "https://host:99999/x",
		"https://2130706433/x", "https://0x7f000001/x", "https://127.1/x", "https://127.0.0.1./x", "https://example.com/x#frag", "https://example.com/x?y",
		"https://ex%61mple.com/x", "https://[::1%25eth0]/x", "https:\\\\example.com/x", "https://-example.com/x", "https://user@/x", "https://" + strings.Repeat("a", 1<<20),
	} {
		_, err := b.repos().CreateRepositoryFromURL(t.Context(), &gitalypb.CreateRepositoryFromURLRequest{Repository: repository("h.git"), Url: url})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%.60q: %v", url, err)
		}
	}
	for _, req := range []*gitalypb.CreateRepositoryFromURLRequest{
		{Url: o.at("x.git"), ResolvedAddress: "localhost"}, {Url: o.at("x.git"), ResolvedAddress: "127.0.0.1:80"},
		{Url: o.at("x.git"), HttpAuthorizationHeader: "Basic x\r\nX-Evil: 1"}, {Url: o.at("x.git"), HttpAuthorizationHeader: strings.Repeat("x", 1<<20)},
	} {
		req.Repository = repository("h.git")
		if _, err := b.repos().CreateRepositoryFromURL(t.Context(), req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%.100v: %v", req, err)
		}
	}
	o.set(func() {
		o.hook = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other.git/info/refs?service=git-upload-pack", http.StatusFound)
		}
	})
	_, err := b.repos().CreateRepositoryFromURL(t.Context(), &gitalypb.CreateRepositoryFromURLRequest{Repository: repository("h.git"), Url: o.URL + "/x.git"})
	if status.Code(err) != codes.FailedPrecondition || len(o.seen) != 1 {
		t.Errorf("a redirect: %v after %d requests", err, len(o.seen))
	}
	b.assertNoTemp(t)
}

// TestRemote_localAddresses: without the operator's word nothing but the public
// internet is reached, by whatever name.
func TestRemote_localAddresses(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t)
	for _, req := range []*gitalypb.CreateRepositoryFromURLRequest{
		{Url: o.URL + "/x.git"}, {Url: o.at("x.git"), ResolvedAddress: loopback}, {Url: "https://localhost/x.git"}, {Url: "https://[::1]/x.git"},
		{Url: "http://169.254.169.254/latest"}, {Url: "https://[::ffff:10.0.0.1]/x.git"}, {Url: "https://[64:ff9b::7f00:1]/x.git"}, {Url: "https://0.0.0.0/x"},
	} {
		req.Repository = repository("l.git")
		if _, err := b.repos().CreateRepositoryFromURL(t.Context(), req); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%v: %v", req, err)
		}
	}
	if len(o.seen) > 0 {
		t.Errorf("%d requests arrived", len(o.seen))
	}
}

// TestCreateRepositoryFromURL_canceled: the caller leaves while the server is
// silent.
func TestCreateRepositoryFromURL_canceled(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	b := setup(t, o.reach)
	arrived := make(chan struct{}, 8)
	o.set(func() {
		o.hook = func(_ http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.repos().CreateRepositoryFromURL(ctx, &gitalypb.CreateRepositoryFromURLRequest{Repository: repository("c.git"), Url: o.URL + "/x.git"})
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; status.Code(err) != codes.Canceled {
		t.Errorf("err = %v", err)
	}
	if err := b.stop(); err != nil { // waits for the handlers, and so for their children
		t.Error(err)
	}
	b.assertNoTemp(t)
	if _, err := os.Stat(filepath.Join(b.dir, "c.git")); err == nil {
		t.Error("half a repository is there")
	}
}

func TestCreateFork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, format := range []string{"sha1", "sha256"} {
		src := filepath.Join(b.dir, format+".git")
		gitIn(t, b.dir, "clone", "-q", "--mirror", sampleHistory(t, format), src)
		req := &gitalypb.CreateForkRequest{Repository: repository(format + "-fork.git"), SourceRepository: repository(format + ".git")}
		if _, err := b.repos().CreateFork(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(b.dir, format+"-fork.git")
		if got, want := refsOf(t, dir), refsOf(t, src, "refs/heads", "refs/tags"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
		b.assertClean(t, dir)
	}
	one := &gitalypb.CreateForkRequest{Repository: repository("one.git"), SourceRepository: repository("sha1.git"), Revision: []byte("refs/heads/side")}
	if _, err := b.repos().CreateFork(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got, want := refsOf(t, filepath.Join(b.dir, "one.git")), refsOf(t, filepath.Join(b.dir, "sha1.git"), "refs/heads/side", "refs/tags/v1"); got != strings.Replace(want, "trunk", "side", 1) {
		t.Errorf("one branch: %s", got)
	}
	for _, tc := range []struct {
		name string
		req  *gitalypb.CreateForkRequest
		code codes.Code
		text string
	}{
		{"exists", &gitalypb.CreateForkRequest{Repository: repository("one.git"), SourceRepository: repository("sha1.git")}, codes.AlreadyExists, "repository exists already"},
		{"no source", &gitalypb.CreateForkRequest{Repository: repository("f.git")}, codes.InvalidArgument, "empty SourceRepository"},
		{"source is not there", &gitalypb.CreateForkRequest{Repository: repository("f.git"), SourceRepository: repository("none.git")}, codes.NotFound, "repository not found"},
		{"another storage", &gitalypb.CreateForkRequest{Repository: repository("f.git"), SourceRepository: &gitalypb.Repository{StorageName: "other", RelativePath: "x"}}, codes.InvalidArgument, "malformed gitaly-servers metadata"},
		{"a tag", &gitalypb.CreateForkRequest{Repository: repository("f.git"), SourceRepository: repository("sha1.git"), Revision: []byte("refs/tags/v1")}, codes.InvalidArgument, "reference is not a branch"},
		{"an option", &gitalypb.CreateForkRequest{Repository: repository("f.git"), SourceRepository: repository("sha1.git"), Revision: []byte("refs/heads/x:refs/heads/y")}, codes.InvalidArgument, "reference is not a branch"},
		{"no such branch", &gitalypb.CreateForkRequest{Repository: repository("f.git"), SourceRepository: repository("sha1.git"), Revision: []byte("refs/heads/none")}, codes.FailedPrecondition, `fetch: "fatal: couldn't find remote ref refs/heads/none": exit status 128`},
	} {
		if _, err := b.repos().CreateFork(t.Context(), tc.req); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	b.assertNoTemp(t)
}

func (b *bundle) fromBundle(t *testing.T, place string, data []byte) error {
	t.Helper()
	stream, err := b.repos().CreateRepositoryFromBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := &gitalypb.CreateRepositoryFromBundleRequest{Repository: repository(place)}
	for part := range bytes.SplitSeq(data, []byte("split here")) {
		first.Data = part
		_ = stream.Send(first) // the answer says why
		first = &gitalypb.CreateRepositoryFromBundleRequest{}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func (b *bundle) fetchBundle(t *testing.T, place string, head bool, data []byte) error {
	t.Helper()
	stream, err := b.repos().FetchBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&gitalypb.FetchBundleRequest{Repository: repository(place), UpdateHead: head}) // the answer says why
	_ = stream.Send(&gitalypb.FetchBundleRequest{Data: data})
	_, err = stream.CloseAndRecv()
	return err
}

func TestBundles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, format := range []string{"sha1", "sha256"} {
		src := sampleHistory(t, format)
		file := filepath.Join(t.TempDir(), "b")
		gitIn(t, src, "bundle", "create", "-q", file, "--all", "HEAD")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.fromBundle(t, format+".git", data); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(b.dir, format+".git")
		if got, want := refsOf(t, dir), refsOf(t, src); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
		b.assertClean(t, dir)
		gitIn(t, src, "checkout", "-q", "-b", "newest")
		gitIn(t, src, "commit", "-q", "--allow-empty", "-m", "three")
		gitIn(t, src, "bundle", "create", "-q", file, "trunk..newest", "HEAD")
		if data, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		if err := b.fetchBundle(t, format+".git", true, data); err != nil {
			t.Fatal(err)
		}
		if got, want := refsOf(t, dir), refsOf(t, src); got != want {
			t.Errorf("%s after the second:\n%s\nwant\n%s", format, got, want)
		}
		if err := b.fromBundle(t, "thin.git", data); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("a bundle that needs more: %v", err)
		}
	}
	b.assertNoTemp(t)
}

// TestBundles_hostile: what is no bundle must not make git read something else.
func TestBundles_hostile(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	for name, data := range map[string]string{
		"nothing": "", "short": "# v2", "another repository": "gitdir: " + x.dir + "\n", "text": "hello, world, hello\n",
		"no pack": "# v2 git bundle\n" + strings.Repeat("1", 40) + " refs/heads/x\n\n", "broken pack": "# v2 git bundle\n" + strings.Repeat("1", 40) + " refs/heads/x\n\nPACK",
	} {
		for kind, err := range map[string]error{"create": x.fromBundle(t, "h.git", []byte(data)), "fetch": x.fetchBundle(t, rel, true, []byte(data))} {
			if c := status.Code(err); c != codes.InvalidArgument && c != codes.FailedPrecondition || strings.Contains(err.Error(), x.bundle.dir) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(x.bundle.dir, "h.git")); err == nil {
		t.Error("a repository was made")
	}
	x.assertNoTemp(t)
	x.assertClean(t, x.dir)
}
