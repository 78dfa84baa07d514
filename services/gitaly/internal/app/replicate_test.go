package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// twoGitalys are a gitaly with two storages, and another one that it knows through
// the metadata of a call.
type twoGitalys struct {
	*bundle
	second string // directory of the other storage of the first
	other  *bundle
}

func withTwo(t *testing.T) twoGitalys {
	t.Helper()
	x := twoGitalys{second: filepath.Join(short(t), "second")}
	if err := os.Mkdir(x.second, 0o700); err != nil {
		t.Fatal(err)
	}
	x.bundle = setup(t, func(c *app.Config) { c.Storages = append(c.Storages, app.Storage{Name: "second", Path: x.second}) })
	x.other = setup(t, func(c *app.Config) { c.Storages[0].Name = "far" })
	return x
}

// told names the other gitaly in the metadata of a call.
func (x twoGitalys) told(t *testing.T) context.Context {
	t.Helper()
	return telling(t, "far", x.other)
}

// telling is the context of a call whose metadata says who has a storage.
func telling(t *testing.T, storage string, at *bundle) context.Context {
	t.Helper()
	raw, err := json.Marshal(map[string]map[string]string{storage: {"address": at.address, "token": secretText}})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), "gitaly-servers", base64.StdEncoding.EncodeToString(raw))
}

func on(storage, rel string) *gitalypb.Repository {
	return &gitalypb.Repository{StorageName: storage, RelativePath: rel}
}

func TestReplicateRepository(t *testing.T) {
	t.Parallel()
	x := withTwo(t)
	for _, tc := range []struct{ format, storage, dir string }{
		{"sha1", "second", x.second}, {"sha256", "second", x.second}, {"sha1", "far", x.other.dir}, {"sha256", "far", x.other.dir},
	} {
		work, name := sampleHistory(t, tc.format), tc.format+"-"+tc.storage+".git"
		source, copied := filepath.Join(tc.dir, "source-"+name), filepath.Join(x.dir, name)
		gitIn(t, tc.dir, "clone", "-q", "--mirror", work, source)
		hook := filepath.Join(source, "custom_hooks/pre-receive.d/check")
		if err := writeFile(hook, "#!/bin/sh\nexit 0\n"); err != nil {
			t.Fatal(err)
		}
		replicate := func() {
			t.Helper()
			_, err := x.repos().ReplicateRepository(x.told(t), &gitalypb.ReplicateRepositoryRequest{
				Repository: repository(name), Source: on(tc.storage, "source-"+name)})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, want := refsOf(t, copied), refsOf(t, source); got != want {
				t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
			}
			x.assertClean(t, copied)
		}
		replicate()
		if raw, err := os.ReadFile(filepath.Join(copied, "custom_hooks/pre-receive.d/check")); err != nil || !strings.HasPrefix(string(raw), "#!/bin/sh") {
			t.Errorf("%s: hook: %q, %v", name, raw, err)
		}
		// Everything moves: a branch forwards, one away, one new, HEAD, and no hooks.
		gitIn(t, work, "commit", "-q", "--allow-empty", "-m", "three")
		gitIn(t, work, "push", "-q", "-f", source, "HEAD:refs/heads/trunk", "HEAD:refs/heads/new/deep", ":refs/heads/side", ":refs/keep-around/x")
		gitIn(t, source, "symbolic-ref", "HEAD", "refs/heads/new/deep")
		if err := os.RemoveAll(filepath.Join(source, "custom_hooks")); err != nil {
			t.Fatal(err)
		}
		replicate()
		if _, err := os.Stat(filepath.Join(copied, "custom_hooks/pre-receive.d")); err == nil {
			t.Errorf("%s: the hooks are still there", name)
		}
		// A damaged copy is made anew.
		if err := os.Remove(filepath.Join(copied, "HEAD")); err != nil {
			t.Fatal(err)
		}
		replicate()
		// But not before there is something better.
		objects := filepath.Join(source, "objects")
		if err := errors.Join(os.Remove(filepath.Join(copied, "HEAD")), os.Rename(objects, objects+".away"), os.MkdirAll(filepath.Join(objects, "pack"), 0o700)); err != nil {
			t.Fatal(err)
		}
		_, err := x.repos().ReplicateRepository(x.told(t), &gitalypb.ReplicateRepositoryRequest{
			Repository: repository(name), Source: on(tc.storage, "source-"+name)})
		if packs, _ := filepath.Glob(filepath.Join(copied, "objects/pack/*.pack")); err == nil || len(packs) == 0 {
			t.Errorf("%s: from a broken source: %v, packs left: %q", name, err, packs)
		}
	}
	x.assertNoTemp(t)
	x.assertUntold(t, secretText)
}

// TestReplicateRepository_pool: a member of an object pool, be it the fork or the source, arrives with all objects and without the pool.
func TestReplicateRepository_pool(t *testing.T) {
	t.Parallel()
	b, pools, _ := withPool(t, "sha1")
	if _, err := pools.LinkRepositoryToObjectPool(t.Context(), &gitalypb.LinkRepositoryToObjectPoolRequest{ObjectPool: poolAt(poolRel), Repository: repository("source.git")}); err != nil {
		t.Fatal(err)
	}
	far := setup(t, func(c *app.Config) { c.Storages[0].Name = "far" })
	for _, name := range []string{"source.git", "team/fork.git"} {
		if _, err := os.Stat(filepath.Join(b.dir, name, "objects/info/alternates")); err != nil {
			t.Errorf("%s is no member: %v", name, err)
		}
		for range 2 { // whole, and then what changed
			if _, err := far.repos().ReplicateRepository(telling(t, "default", b), &gitalypb.ReplicateRepositoryRequest{
				Repository: on("far", name), Source: on("default", name)}); err != nil {
				t.Fatal(err)
			}
		}
		copied := filepath.Join(far.dir, name)
		if _, err := os.Stat(filepath.Join(copied, "objects/info/alternates")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s borrows: %v", name, err)
		}
		if got, want := refsOf(t, copied), refsOf(t, filepath.Join(b.dir, name)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		gitIn(t, copied, "fsck", "--strict", "--full")
	}
}

// TestFar: forks and branches of another gitaly.
func TestFar(t *testing.T) {
	t.Parallel()
	x := withTwo(t)
	work := sampleHistory(t, "sha1")
	source := filepath.Join(x.other.dir, "source.git")
	gitIn(t, x.dir, "clone", "-q", "--mirror", work, source)
	if _, err := x.repos().CreateFork(x.told(t), &gitalypb.CreateForkRequest{Repository: repository("fork.git"), SourceRepository: on("far", "source.git")}); err != nil {
		t.Fatal(err)
	}
	fork := filepath.Join(x.dir, "fork.git")
	if got, want := refsOf(t, fork), refsOf(t, source, "refs/heads", "refs/tags"); got != want {
		t.Errorf("fork:\n%s\nwant\n%s", got, want)
	}
	gitIn(t, work, "commit", "-q", "--allow-empty", "-m", "three")
	gitIn(t, work, "push", "-q", source, "HEAD:refs/heads/topic")
	fetch := func(source *gitalypb.Repository, branch string) (bool, error) {
		got, err := x.repos().FetchSourceBranch(x.told(t), &gitalypb.FetchSourceBranchRequest{
			Repository: repository("fork.git"), SourceRepository: source, SourceBranch: []byte(branch), TargetRef: []byte("refs/merge-requests/1/head")})
		return got.GetResult(), err
	}
	if ok, err := fetch(on("far", "source.git"), "refs/heads/topic"); !ok || err != nil {
		t.Errorf("FetchSourceBranch = %v, %v", ok, err)
	}
	if got, want := gitIn(t, fork, "rev-parse", "refs/merge-requests/1/head"), gitIn(t, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("the reference is %s, want %s", got, want)
	}
	x.assertClean(t, fork)
	if ok, err := fetch(on("far", "source.git"), "refs/heads/none"); ok || err != nil {
		t.Errorf("no such branch: %v, %v", ok, err)
	}
	if _, err := fetch(on("far", "none.git"), "refs/heads/topic"); status.Code(err) != codes.NotFound {
		t.Errorf("no such repository: %v", err)
	}
	if err := x.other.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(on("far", "source.git"), "refs/heads/topic"); status.Code(err) != codes.Unavailable {
		t.Errorf("the other is down: %v", err)
	}
}

func TestReplicateRepository_refuses(t *testing.T) {
	t.Parallel()
	x := withTwo(t)
	x.create(t, "here.git")
	for _, tc := range []struct {
		name   string
		source *gitalypb.Repository
		code   codes.Code
		text   string
	}{
		{"no source", nil, codes.InvalidArgument, "source repository cannot be empty"},
		{"same storage", on("default", "here.git"), codes.InvalidArgument, "repository and source have the same storage"},
		{"not there", on("second", "none.git"), codes.NotFound, "invalid source repository"},
		{"not there either", on("far", "none.git"), codes.NotFound, "invalid source repository"},
		{"nowhere", on("unknown", "x.git"), codes.InvalidArgument, "the server of the source storage is not named"},
		{"leaves the storage", on("second", "../x.git"), codes.InvalidArgument, "relative path escapes root directory"},
	} {
		_, err := x.repos().ReplicateRepository(x.told(t), &gitalypb.ReplicateRepositoryRequest{Repository: repository("copy.git"), Source: tc.source})
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for _, servers := range []string{"", "!", base64.StdEncoding.EncodeToString([]byte("[]")), strings.Repeat("QUJD", 50000)} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "gitaly-servers", servers)
		_, err := x.repos().ReplicateRepository(ctx, &gitalypb.ReplicateRepositoryRequest{Repository: repository("copy.git"), Source: on("far", "x.git")})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("metadata %.20q: %v", servers, err)
		}
	}
	if _, err := os.Stat(filepath.Join(x.dir, "copy.git")); err == nil {
		t.Error("a repository was made")
	}
}
