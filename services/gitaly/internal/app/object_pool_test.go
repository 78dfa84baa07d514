package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// poolRel is a place that a pool may have.
var poolRel = "@pools/ab/cd/abcd" + strings.Repeat("0", 60) + ".git" //nolint:gochecknoglobals // a constant

func poolAt(rel string) *gitalypb.ObjectPool {
	return &gitalypb.ObjectPool{Repository: &gitalypb.Repository{StorageName: "default", RelativePath: rel}}
}

// withPool is a source, its pool, and a fork that is a member.
func withPool(t *testing.T, format string) (b *bundle, pools gitalypb.ObjectPoolServiceClient, work string) {
	t.Helper()
	b = setup(t)
	pools, work = gitalypb.NewObjectPoolServiceClient(b.conn), sampleHistory(t, format)
	gitIn(t, b.dir, "clone", "-q", "--mirror", work, filepath.Join(b.dir, "source.git"))
	ctx := t.Context()
	if _, err := pools.CreateObjectPool(ctx, &gitalypb.CreateObjectPoolRequest{ObjectPool: poolAt(poolRel), Origin: repository("source.git")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.repos().CreateFork(ctx, &gitalypb.CreateForkRequest{Repository: repository("team/fork.git"), SourceRepository: repository("source.git")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to do
		if _, err := pools.LinkRepositoryToObjectPool(ctx, &gitalypb.LinkRepositoryToObjectPoolRequest{ObjectPool: poolAt(poolRel), Repository: repository("team/fork.git")}); err != nil {
			t.Fatal(err)
		}
	}
	return b, pools, work
}

// objectsOf counts the objects that a repository has itself.
func objectsOf(t *testing.T, dir string) (loose, packed string) {
	t.Helper()
	for line := range strings.SplitSeq(gitIn(t, dir, "count-objects", "-v"), "\n") {
		switch name, n, _ := strings.Cut(line, ": "); name {
		case "count":
			loose = n
		case "in-pack":
			packed = n
		}
	}
	return loose, packed
}

func TestObjectPoolService(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		b, pools, work := withPool(t, format)
		ctx, fork, pool := t.Context(), filepath.Join(b.dir, "team/fork.git"), filepath.Join(b.dir, poolRel)
		want := strings.ReplaceAll(gitIn(t, filepath.Join(b.dir, "source.git"), "for-each-ref", "--format=%(objectname) %(refname)"), " refs/", " refs/remotes/origin/")
		if got := gitIn(t, pool, "for-each-ref", "--format=%(objectname) %(refname)"); got != want {
			t.Errorf("the pool has\n%s\nwant\n%s", got, want)
		}
		raw, err := os.ReadFile(filepath.Join(fork, "objects/info/alternates"))
		if err != nil || string(raw) != "../../../"+poolRel+"/objects" {
			t.Errorf("alternates = %q, %v", raw, err)
		}
		got, err := pools.GetObjectPool(ctx, &gitalypb.GetObjectPoolRequest{Repository: repository("team/fork.git")})
		if err != nil || got.GetObjectPool().GetRepository().GetRelativePath() != poolRel {
			t.Errorf("GetObjectPool = %v, %v", got, err)
		}
		if got, err := pools.GetObjectPool(ctx, &gitalypb.GetObjectPoolRequest{Repository: repository("source.git")}); err != nil || got.GetObjectPool() != nil {
			t.Errorf("GetObjectPool of no member = %v, %v", got, err)
		}
		dedupe(t, b)
		if loose, packed := objectsOf(t, fork); loose != "0" || packed != "0" {
			t.Errorf("the member still has %s loose and %s packed objects of its own", loose, packed)
		}
		b.assertClean(t, fork)
		update(t, b, pools, work)
		disconnect(t, b, pools)
		for range 2 {
			if _, err := pools.DeleteObjectPool(ctx, &gitalypb.DeleteObjectPoolRequest{ObjectPool: poolAt(poolRel)}); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(pool); err == nil {
			t.Error("the pool is still there")
		}
		b.assertClean(t, fork)
		b.assertNoTemp(t)
	}
}

// dedupe lets housekeeping drop from the fork what the pool has.
func dedupe(t *testing.T, b *bundle) {
	t.Helper()
	_, err := b.repos().OptimizeRepository(t.Context(), &gitalypb.OptimizeRepositoryRequest{
		Repository: repository("team/fork.git"), Strategy: gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER})
	if err != nil {
		t.Fatal(err)
	}
}

// update changes the source so that a branch takes the place of a directory of
// branches, and checks that the pool follows and forgets nothing.
func update(t *testing.T, b *bundle, pools gitalypb.ObjectPoolServiceClient, work string) {
	t.Helper()
	source, pool := filepath.Join(b.dir, "source.git"), filepath.Join(b.dir, poolRel)
	gone := gitIn(t, work, "commit-tree", "-m", "nowhere else", "HEAD^{tree}")
	fetch := func() {
		t.Helper()
		if _, err := pools.FetchIntoObjectPool(t.Context(), &gitalypb.FetchIntoObjectPoolRequest{ObjectPool: poolAt(poolRel), Origin: repository("source.git")}); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, source, "update-ref", "-d", "refs/heads/side")
	gitIn(t, work, "push", "-q", source, gone+":refs/heads/side/deep")
	fetch()
	gitIn(t, source, "update-ref", "-d", "refs/heads/side/deep")
	gitIn(t, work, "push", "-q", source, "HEAD^:refs/heads/side")
	fetch()
	if got, want := gitIn(t, pool, "rev-parse", "refs/remotes/origin/heads/side"), gitIn(t, work, "rev-parse", "HEAD^"); got != want {
		t.Errorf("side is %s, want %s", got, want)
	}
	if got := gitIn(t, pool, "rev-parse", "refs/dangling/"+gone); got != gone {
		t.Errorf("the object that nobody names any more is kept as %s", got)
	}
	b.assertClean(t, pool)
}

// disconnect makes the fork independent and takes the pool away.
func disconnect(t *testing.T, b *bundle, pools gitalypb.ObjectPoolServiceClient) {
	t.Helper()
	for range 2 {
		if _, err := pools.DisconnectGitAlternates(t.Context(), &gitalypb.DisconnectGitAlternatesRequest{Repository: repository("team/fork.git")}); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "team/fork.git/objects/info/alternates*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, packed := objectsOf(t, filepath.Join(b.dir, "team/fork.git")); packed == "0" {
		t.Error("no objects were copied")
	}
}

// TestObjectPoolService_crashed: gitaly dies while a member is being made
// independent. The state is laid out as it is on the disk then.
func TestObjectPoolService_crashed(t *testing.T) {
	t.Parallel()
	b, pools, _ := withPool(t, "sha1")
	dedupe(t, b)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	fork := filepath.Join(b.dir, "team/fork.git")
	alternates := filepath.Join(fork, "objects/info/alternates")
	if err := os.Rename(alternates, alternates+".suspended"); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	eventually(t, "the pool is borrowed from again", func() bool {
		_, err := os.Stat(alternates)
		return err == nil
	})
	b.assertClean(t, fork)
	disconnect(t, b, pools)
	b.assertClean(t, fork)
}

func TestObjectPoolService_refuses(t *testing.T) {
	t.Parallel()
	b, pools, work := withPool(t, "sha1")
	ctx := t.Context()
	other := strings.ReplaceAll(poolRel, "abcd", "abce")
	other = strings.Replace(other, "ab/cd", "ab/ce", 1)
	create := func(pool *gitalypb.ObjectPool, origin *gitalypb.Repository) error {
		_, err := pools.CreateObjectPool(ctx, &gitalypb.CreateObjectPoolRequest{ObjectPool: pool, Origin: origin})
		return err
	}
	link := func(pool *gitalypb.ObjectPool, repo *gitalypb.Repository) error {
		_, err := pools.LinkRepositoryToObjectPool(ctx, &gitalypb.LinkRepositoryToObjectPoolRequest{ObjectPool: pool, Repository: repo})
		return err
	}
	fetch := func(pool *gitalypb.ObjectPool, origin *gitalypb.Repository) error {
		_, err := pools.FetchIntoObjectPool(ctx, &gitalypb.FetchIntoObjectPoolRequest{ObjectPool: pool, Origin: origin})
		return err
	}
	for _, tc := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"no origin", create(poolAt(poolRel), nil), codes.InvalidArgument, "no origin repository"},
		{"no pool", create(nil, repository("source.git")), codes.InvalidArgument, "no object pool repository"},
		{"place of a project", create(poolAt("@hashed/ab/cd/x.git"), repository("source.git")), codes.InvalidArgument, "invalid object pool directory"},
		{"name does not fit its directories", create(poolAt(strings.Replace(poolRel, "ab/cd", "cd/ab", 1)), repository("source.git")), codes.InvalidArgument, "invalid object pool directory"},
		{"path goes up", create(poolAt("@pools/../"+poolRel), repository("source.git")), codes.FailedPrecondition, "creating object pool: repository exists already"},
		{"exists", create(poolAt(poolRel), repository("source.git")), codes.FailedPrecondition, "creating object pool: repository exists already"},
		{"origin is not there", create(poolAt(other), repository("none.git")), codes.NotFound, "repository not found"},
		{"pool is not there", link(poolAt(other), repository("source.git")), codes.FailedPrecondition, "object pool is not a valid git repository"},
		{"pool in a pool", link(poolAt(poolRel), poolAt(poolRel).GetRepository()), codes.InvalidArgument, "an object pool cannot be a member of another"},
		{"fetch without origin", fetch(poolAt(poolRel), nil), codes.InvalidArgument, "origin is empty"},
		{"fetch without pool", fetch(nil, repository("source.git")), codes.InvalidArgument, "object pool is empty"},
		{"fetch from another storage", fetch(poolAt(poolRel), &gitalypb.Repository{StorageName: "x", RelativePath: "y"}), codes.InvalidArgument, "origin has different storage than object pool"},
		{"fetch into nothing", fetch(poolAt(other), repository("source.git")), codes.FailedPrecondition, "object pool is not a valid git repository"},
	} {
		if status.Code(tc.err) != tc.code || status.Convert(tc.err).Message() != tc.text {
			t.Errorf("%s: %v", tc.name, tc.err)
		}
	}
	if err := create(poolAt(other), repository("source.git")); err != nil {
		t.Fatal(err)
	}
	if err := link(poolAt(other), repository("team/fork.git")); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "unexpected alternates content") {
		t.Errorf("member of another pool: %v", err)
	}
	gitIn(t, work, "init", "-q", "--bare", "--object-format=sha256", filepath.Join(b.dir, "sha256.git"))
	if err := link(poolAt(poolRel), repository("sha256.git")); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("member with other ids: %v", err)
	}
}

// restart starts gitaly again and waits until the client has found it.
func (b *bundle) restart(t *testing.T) {
	t.Helper()
	b.start(t)
	if _, err := gitalypb.NewServerServiceClient(b.conn).ServerInfo(t.Context(), &gitalypb.ServerInfoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
}

// TestTemporaryFiles: what a crash left half-way is gone after the next start, and
// its place is free.
func TestTemporaryFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, "doomed.git")
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(b.dir, "+gitaly/tmp")
	for _, half := range []string{"repo-half/objects/info", "file-bundle", "dir-hooks/custom_hooks"} { // creations
		if err := writeFile(filepath.Join(tmp, half, "x"), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(dir, filepath.Join(tmp, "removed-half")); err != nil { // a removal
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "@hashed/aa/bb"), 0o700); err != nil { // directories before the repository
		t.Fatal(err)
	}
	b.restart(t)
	b.assertNoTemp(t)
	b.create(t, "doomed.git")
	b.create(t, "@hashed/aa/bb/c.git")
}
