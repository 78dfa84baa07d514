package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// mirrored is a repository and its mirror at another server.
type mirrored struct {
	*bundle
	o      *origin
	work   string // working copy that pushes to both
	source string
	mirror string
}

func withMirror(t *testing.T) mirrored {
	t.Helper()
	o := newOrigin(t)
	m := mirrored{bundle: setup(t, o.reach), o: o, work: sampleHistory(t, "sha1"), mirror: o.repo(t, "mirror.git", "")}
	m.source = filepath.Join(m.dir, "source.git")
	gitIn(t, m.dir, "clone", "-q", "--mirror", m.work, m.source)
	return m
}

// update updates the mirror; each list of patterns is a message.
func (m mirrored) update(t *testing.T, keep bool, patterns ...[]string) ([]string, error) {
	t.Helper()
	stream, err := gitalypb.NewRemoteServiceClient(m.conn).UpdateRemoteMirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := &gitalypb.UpdateRemoteMirrorRequest{Repository: repository("source.git"), KeepDivergentRefs: keep,
		Remote: &gitalypb.UpdateRemoteMirrorRequest_Remote{Url: m.o.at("mirror.git"), ResolvedAddress: loopback}}
	for _, list := range append(patterns, nil) {
		for _, p := range list {
			req.OnlyBranchesMatching = append(req.OnlyBranchesMatching, []byte(p))
		}
		_ = stream.Send(req) // the answer says why
		req = &gitalypb.UpdateRemoteMirrorRequest{}
	}
	answer, err := stream.CloseAndRecv()
	var divergent []string
	for _, name := range answer.GetDivergentRefs() {
		divergent = append(divergent, string(name))
	}
	return divergent, err
}

func (m mirrored) names(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(gitIn(t, m.mirror, "for-each-ref", "--format=%(refname)"), "\n", " ")
}

func TestUpdateRemoteMirror(t *testing.T) {
	t.Parallel()
	m := withMirror(t)
	if divergent, err := m.update(t, false); err != nil || divergent != nil {
		t.Fatalf("%q, %v", divergent, err)
	}
	want := gitIn(t, m.source, "for-each-ref", "refs/heads", "refs/tags")
	if got := gitIn(t, m.mirror, "for-each-ref"); got != want {
		t.Errorf("the mirror has\n%s\nwant\n%s", got, want)
	}
	seen := len(m.o.seen)
	if _, err := m.update(t, false); err != nil || len(m.o.seen) != seen+2 { // info/refs and ls-refs
		t.Errorf("nothing to do took %d requests, %v", len(m.o.seen)-seen, err)
	}
	// The mirror alone has: a merged branch, one with a commit that is known here but
	// not merged, one with a commit of its own; and trunk has moved away.
	gitIn(t, m.work, "push", "-q", m.mirror, "HEAD^:refs/heads/merged")
	known := gitIn(t, m.work, "commit-tree", "-p", "HEAD", "-m", "known", "HEAD^{tree}")
	gitIn(t, m.work, "push", "-q", m.mirror, known+":refs/heads/known")
	gitIn(t, m.work, "push", "-q", m.source, known+":refs/keep-around/known")
	foreign := gitIn(t, m.work, "commit-tree", "-p", "HEAD", "-m", "foreign", "HEAD^{tree}")
	gitIn(t, m.work, "push", "-q", m.mirror, foreign+":refs/heads/foreign")
	gitIn(t, m.work, "push", "-q", "-f", m.mirror, foreign+":refs/heads/trunk")
	gitIn(t, m.work, "push", "-q", m.source, "HEAD:refs/heads/new")
	divergent, err := m.update(t, true)
	if diff := cmp.Diff([]string{"refs/heads/trunk"}, divergent); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got := m.names(t); got != "refs/heads/foreign refs/heads/known refs/heads/merged refs/heads/new refs/heads/side refs/heads/trunk refs/tags/v1" {
		t.Errorf("with divergent references kept the mirror has %s", got)
	}
	if got := gitIn(t, m.mirror, "rev-parse", "trunk"); got != foreign {
		t.Error("the divergent branch was moved")
	}
	if divergent, err := m.update(t, false); err != nil || divergent != nil {
		t.Fatalf("%q, %v", divergent, err)
	}
	if got := m.names(t); got != "refs/heads/foreign refs/heads/known refs/heads/new refs/heads/side refs/heads/trunk refs/tags/v1" {
		t.Errorf("the mirror has %s", got)
	}
	if got, want := gitIn(t, m.mirror, "rev-parse", "trunk"), gitIn(t, m.source, "rev-parse", "trunk"); got != want {
		t.Errorf("trunk is %s, want %s", got, want)
	}
}

func TestUpdateRemoteMirror_patterns(t *testing.T) {
	t.Parallel()
	m := withMirror(t)
	for _, branch := range []string{"release/1.0", "release-x", "a+b"} {
		gitIn(t, m.work, "push", "-q", m.source, "HEAD:refs/heads/"+branch)
	}
	if _, err := m.update(t, false, []string{"release/*", "a+b"}, []string{"s*de"}); err != nil {
		t.Fatal(err)
	}
	if got := m.names(t); got != "refs/heads/a+b refs/heads/release/1.0 refs/heads/side refs/tags/v1" {
		t.Errorf("the mirror has %s", got)
	}
	if _, err := m.update(t, false, []string{strings.Repeat("a*", 5000)}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a long pattern: %v", err)
	}
	if _, err := m.update(t, false, []string{strings.Repeat("*a", 500) + "*"}); err != nil { // takes for ever where it is not linear
		t.Errorf("a hard pattern: %v", err)
	}
}

func TestUpdateRemoteMirror_refused(t *testing.T) {
	t.Parallel()
	m := withMirror(t)
	hook := filepath.Join(m.mirror, "hooks/update")
	if err := os.MkdirAll(filepath.Dir(hook), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n[ $1 = refs/heads/side ] && exit 1\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := m.update(t, false)
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != `push to mirror: "refs/heads/side": [remote rejected] (hook declined)` {
		t.Errorf("err = %v", err)
	}
	if got := m.names(t); got != "refs/heads/trunk refs/tags/v1" {
		t.Errorf("the mirror has %s", got)
	}
	for _, remote := range []*gitalypb.UpdateRemoteMirrorRequest_Remote{nil, {}, {Url: "ext::id"}, {Url: "file://" + m.source}} {
		stream, err := gitalypb.NewRemoteServiceClient(m.conn).UpdateRemoteMirror(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&gitalypb.UpdateRemoteMirrorRequest{Repository: repository("source.git"), Remote: remote})
		if _, err := stream.CloseAndRecv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", remote, err)
		}
	}
}

func TestFindRemote(t *testing.T) {
	t.Parallel()
	m := withMirror(t)
	remotes, ctx := gitalypb.NewRemoteServiceClient(m.conn), t.Context()
	m.o.repo(t, "full.git", m.work)
	for name, want := range map[string]bool{"full.git": true, "none.git": false, "mirror.git": false /* empty */} {
		got, err := remotes.FindRemoteRepository(ctx, &gitalypb.FindRemoteRepositoryRequest{Remote: m.o.URL + "/" + name, StorageName: "default"})
		if err != nil || got.GetExists() != want {
			t.Errorf("FindRemoteRepository(%s) = %v, %v", name, got, err)
		}
	}
	root, err := remotes.FindRemoteRootRef(ctx, &gitalypb.FindRemoteRootRefRequest{Repository: repository("source.git"), RemoteUrl: m.o.at("full.git"), ResolvedAddress: loopback})
	if err != nil || root.GetRef() != "trunk" {
		t.Errorf("FindRemoteRootRef = %v, %v", root, err)
	}
	for _, tc := range []struct {
		name string
		url  string
		code codes.Code
		text string
	}{
		{"no URL", "", codes.InvalidArgument, "missing remote URL"},
		{"no HEAD", m.o.URL + "/mirror.git", codes.NotFound, "no remote HEAD found"},
		{"no repository", m.o.URL + "/none.git", codes.FailedPrecondition, `ls-remote: "fatal: repository '` + m.o.URL + `/none.git/' not found": exit status 128`},
		{"another protocol", "ext::id", codes.InvalidArgument, "the URL of the remote must begin with https:// or http://"},
	} {
		_, err := remotes.FindRemoteRootRef(ctx, &gitalypb.FindRemoteRootRefRequest{Repository: repository("source.git"), RemoteUrl: tc.url})
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := remotes.FindRemoteRepository(ctx, &gitalypb.FindRemoteRepositoryRequest{}); status.Convert(err).Message() != "empty remote can't be checked." {
		t.Errorf("no remote: %v", err)
	}
	// A server that lists nonsense is not believed.
	m.o.set(func() {
		m.o.hook = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			line := strings.Repeat("1", 40) + " refs/heads/../x\x00symref=HEAD:refs/heads/../x\n"
			_, _ = w.Write([]byte("001e# service=git-upload-pack\n0000" + "00" + hex2(len(line)+4) + line + "0000"))
		}
	})
	if _, err := remotes.FindRemoteRootRef(ctx, &gitalypb.FindRemoteRootRefRequest{Repository: repository("source.git"), RemoteUrl: m.o.URL + "/x"}); err == nil {
		t.Error("a reference with an invalid name was believed")
	}
}

func hex2(n int) string { return string("0123456789abcdef"[n>>4]) + string("0123456789abcdef"[n&15]) }
