package app_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func (b *bundle) optimize(t *testing.T, rel string, s gitalypb.OptimizeRepositoryRequest_Strategy) {
	t.Helper()
	_, err := gitalypb.NewRepositoryServiceClient(b.conn).OptimizeRepository(t.Context(), &gitalypb.OptimizeRepositoryRequest{
		Repository: repository(rel), Strategy: s,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) info(t *testing.T, rel string) *gitalypb.RepositoryInfoResponse {
	t.Helper()
	info, err := gitalypb.NewRepositoryServiceClient(b.conn).RepositoryInfo(t.Context(), &gitalypb.RepositoryInfoRequest{Repository: repository(rel)})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestOptimizeRepository(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	b.optimize(t, rel, gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER) // of nothing
	c := b.client(t)
	for i := range 3 {
		c.commit(t, fmt.Sprintf("f%d", i), "x")
		c.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main", fmt.Sprintf("HEAD:refs/heads/b%d", i))
	}
	before := b.info(t, rel)
	if before.GetObjects().GetLooseObjectsCount() != 7 || before.GetReferences().GetLooseCount() != 4 || before.GetMultiPackIndex().GetVersion() != 0 {
		t.Fatalf("before: %v", before)
	}
	b.optimize(t, rel, gitalypb.OptimizeRepositoryRequest_STRATEGY_HEURISTICAL)
	after := b.info(t, rel)
	o := after.GetObjects()
	if o.GetLooseObjectsCount() != 0 || o.GetPackfileCount() != 1 || o.GetReverseIndexCount() != 1 || after.GetReferences().GetLooseCount() != 4 ||
		after.GetMultiPackIndex().GetPackfileCount() != 1 || after.GetMultiPackIndexBitmap().GetVersion() == 0 ||
		after.GetCommitGraph().GetCommitGraphChainLength() != 1 || !after.GetCommitGraph().GetHasBloomFilters() || !after.GetCommitGraph().GetHasGenerationData() {
		t.Errorf("after heuristical: %v", after)
	}
	b.assertClean(t, dir)

	c.commit(t, "more", "x")
	c.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main", ":refs/heads/b0", "HEAD:refs/heads/gone")
	c.git(t, "push", "-q", remote(rel), ":refs/heads/b1")
	b.optimize(t, rel, gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER)
	after = b.info(t, rel)
	if after.GetReferences().GetLooseCount() != 0 || after.GetReferences().GetPackedSize() == 0 || after.GetObjects().GetPackfileCount() != 1 ||
		after.GetLastFullRepack().AsTime().Before(before.GetLastFullRepack().AsTime()) {
		t.Errorf("after eager: %v", after)
	}
	b.assertClean(t, dir)
	clone := b.client(t)
	clone.git(t, "clone", "-q", "--mirror", remote(rel), "copy.git")
	if out := clone.git(t, "-C", "copy.git", "for-each-ref", "--format=%(refname)"); out != "refs/heads/b2\nrefs/heads/gone\nrefs/heads/main" {
		t.Errorf("references: %s", out)
	}
}

func TestOptimizeRepository_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	pool := "@pools/6b/86/" + filepath.Base(rel)
	b.create(t, pool)
	repos := gitalypb.NewRepositoryServiceClient(b.conn)
	for s, want := range map[gitalypb.OptimizeRepositoryRequest_Strategy]codes.Code{
		gitalypb.OptimizeRepositoryRequest_STRATEGY_OFFLOADING:  codes.Unimplemented,
		gitalypb.OptimizeRepositoryRequest_STRATEGY_REHYDRATION: codes.Unimplemented,
		99: codes.InvalidArgument,
	} {
		_, err := repos.OptimizeRepository(t.Context(), &gitalypb.OptimizeRepositoryRequest{Repository: repository(rel), Strategy: s})
		if status.Code(err) != want {
			t.Errorf("strategy %v: %v, want %v", s, err, want)
		}
	}
	_, err := repos.PruneUnreachableObjects(t.Context(), &gitalypb.PruneUnreachableObjectsRequest{Repository: repository(pool)})
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "pruning objects for object pool" {
		t.Errorf("prune of a pool: %v", err)
	}
	if !b.info(t, pool).GetIsObjectPool() || b.info(t, rel).GetIsObjectPool() {
		t.Error("pools are not told from others")
	}
}
