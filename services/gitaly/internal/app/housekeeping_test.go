package app_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/config"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

func (b *bundle) optimize(t testing.TB, rel string, s gitalypb.OptimizeRepositoryRequest_Strategy) {
	t.Helper()
	_, err := gitalypb.NewRepositoryServiceClient(b.conn).OptimizeRepository(t.Context(), &gitalypb.OptimizeRepositoryRequest{
		Repository: repository(rel), Strategy: s,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) info(t testing.TB, rel string) *gitalypb.RepositoryInfoResponse {
	t.Helper()
	info, err := gitalypb.NewRepositoryServiceClient(b.conn).RepositoryInfo(t.Context(), &gitalypb.RepositoryInfoRequest{Repository: repository(rel)})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestOptimizeRepository(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) { c.PrometheusListenAddr = c.SocketPath + ".metrics" })
	dir := b.create(t, rel)
	b.optimize(t, rel, gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER) // of nothing
	c := b.client(t)
	for i := range 3 {
		c.commit(t, fmt.Sprintf("f%d", i), "x")
		c.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main", fmt.Sprintf("HEAD:refs/heads/b%d", i))
	}
	before := b.info(t, rel)
	if before.GetObjects().GetPackfileCount() != 3 || before.GetReferences().GetLooseCount() != 4 || before.GetMultiPackIndex().GetVersion() != 0 {
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
	for _, want := range []string{
		`gitaly_housekeeping_tasks_total{housekeeping_task="total",status="success"} 3`,
		`gitaly_housekeeping_tasks_total{housekeeping_task="packed_objects_full",status="success"} 1`,
		`gitaly_housekeeping_tasks_latency_count{stage="repack"} 2`,
		`gitaly_housekeeping_runs{state="working"} 0`,
	} {
		if !strings.Contains(b.metrics(t), want) {
			t.Errorf("no metric %s", want)
		}
	}
	if out := clone.git(t, "-C", "copy.git", "for-each-ref", "--format=%(refname)"); out != "refs/heads/b2\nrefs/heads/gone\nrefs/heads/main" {
		t.Errorf("references: %s", out)
	}
}

func TestConfig_housekeeping(t *testing.T) {
	t.Parallel()
	for key, alter := range map[string]func(*app.Config){
		"housekeeping.max_concurrency":   func(c *app.Config) { c.Housekeeping.MaxConcurrency = 0 },
		"daily_maintenance.start_hour":   func(c *app.Config) { c.DailyMaintenance.StartHour = 24 },
		"daily_maintenance.start_minute": func(c *app.Config) { c.DailyMaintenance.StartMinute = -1 },
		"daily_maintenance.duration":     func(c *app.Config) { c.DailyMaintenance.Duration = config.Duration(25 * time.Hour) },
		"daily_maintenance.storages":     func(c *app.Config) { c.DailyMaintenance.Storages = []string{"other"} },
	} {
		c := app.DefaultConfig()
		if strings.Contains(c.Validate().Error(), key) { // much else is missing
			t.Errorf("%s: the default is refused", key)
		}
		alter(&c)
		if !strings.Contains(c.Validate().Error(), key+": ") {
			t.Errorf("%s: accepted", key)
		}
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

// TestOptimizeRepository_whilePushing: pushes and clones of all sizes go on while
// the repository is packed over and over, and nothing is lost.
func TestOptimizeRepository_whilePushing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	first := b.client(t)
	first.commit(t, "base", "base")
	first.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main")

	var pushing, others sync.WaitGroup
	tips := make([]string, 2)
	for i := range tips {
		pushing.Go(func() {
			c := b.client(t)
			c.git(t, "pull", "-q", remote(rel), "main")
			for n := range 3 {
				for f := range 1 + 100*(n%2) { // once loose, once a pack
					if err := writeFile(filepath.Join(c.dir, fmt.Sprintf("d%d/%d-%d", f%7, n, f)), fmt.Sprint(i, n, f)); err != nil {
						t.Error(err)
						return
					}
				}
				tips[i] = c.commit(t, fmt.Sprintf("f%d", i), fmt.Sprint(n))
				if out, err := c.try(t, "push", remote(rel), fmt.Sprintf("HEAD:refs/heads/b%d", i), fmt.Sprintf("HEAD:refs/heads/t%d-%d", i, n)); err != nil {
					t.Errorf("push: %v\n%s", err, out)
				}
				if out, err := c.try(t, "push", remote(rel), fmt.Sprintf(":refs/heads/t%d-%d", i, n)); err != nil {
					t.Errorf("deletion: %v\n%s", err, out)
				}
			}
		})
	}
	done := make(chan struct{})
	others.Go(func() {
		repos := gitalypb.NewRepositoryServiceClient(b.conn)
		for n := 0; !closed(done); n++ {
			_, err := repos.OptimizeRepository(t.Context(), &gitalypb.OptimizeRepositoryRequest{
				Repository: repository(rel), Strategy: gitalypb.OptimizeRepositoryRequest_Strategy(1 + n%2),
			})
			if err == nil {
				_, err = repos.PruneUnreachableObjects(t.Context(), &gitalypb.PruneUnreachableObjectsRequest{Repository: repository(rel)})
			}
			if err != nil && status.Code(err) != codes.AlreadyExists { // the scheduler was faster
				t.Errorf("optimize: %v", err)
			}
		}
	})
	others.Go(func() {
		c := b.client(t)
		for n := 0; !closed(done); n++ {
			if out, err := c.try(t, "clone", "-q", "--mirror", remote(rel), fmt.Sprint("copy", n)); err != nil {
				t.Errorf("clone: %v\n%s", err, out)
			}
		}
	})
	pushing.Wait()
	close(done)
	others.Wait()
	b.assertClean(t, dir)
	for i, tip := range tips {
		if got := first.git(t, "ls-remote", remote(rel), fmt.Sprintf("refs/heads/b%d", i)); !strings.HasPrefix(got, tip) {
			t.Errorf("branch b%d is %q, want %s", i, got, tip)
		}
	}
	if log := b.log.String(); strings.Contains(log, `"failure"`) || strings.Contains(log, `"level":"ERROR"`) {
		t.Error("the log tells of failures")
	}
}

func closed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// TestHousekeeping_scheduled: a repository that is written to stays in order by
// itself, whatever is written.
func TestHousekeeping_scheduled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	c := b.client(t)
	repos := gitalypb.NewRepositoryServiceClient(b.conn)
	var tip string
	for n := range 4 {
		for f := range 100 { // enough for a pack of its own
			if err := writeFile(filepath.Join(c.dir, fmt.Sprint(f)), fmt.Sprint(n, f)); err != nil {
				t.Fatal(err)
			}
		}
		tip = c.commit(t, "f", fmt.Sprint(n))
		c.git(t, "push", "-q", remote(rel), "HEAD:refs/heads/main")
	}
	if o := b.info(t, rel).GetObjects(); o.GetPackfileCount() != 4 {
		t.Fatalf("%d packs before anything was due", o.GetPackfileCount())
	}
	for n := range 40 { // with the pushes and the creation 45 writes
		_, err := repos.WriteRef(t.Context(), &gitalypb.WriteRefRequest{
			Repository: repository(rel), Ref: fmt.Appendf(nil, "refs/keep-around/%d", n), Revision: []byte(tip),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 20000 { // until the last run is over
		i := b.info(t, rel)
		if i.GetReferences().GetLooseCount() < 16+20 && i.GetObjects().GetPackfileCount() <= 2 && i.GetCommitGraph().GetHasBloomFilters() {
			b.assertClean(t, dir)
			return
		}
	}
	t.Errorf("at the end: %v", b.info(t, rel))
}

// BenchmarkClone_after500Pushes compares a clone of a repository that has seen 500
// pushes with one of the same repository after everything was packed anew:
//
//	go test -run '^$' -bench Clone_after500Pushes -benchtime 1x ./internal/app
func BenchmarkClone_after500Pushes(b *testing.B) {
	g := setup(b)
	g.create(b, rel)
	c := g.client(b)
	for n := range 500 {
		c.commit(b, fmt.Sprintf("d%d/f%d", n%10, n%50), strings.Repeat(fmt.Sprintln("line", n), 50))
		c.git(b, "push", "-q", remote(rel), "HEAD:refs/heads/main", fmt.Sprintf("HEAD:refs/heads/b%d", n))
	}
	clone := func() time.Duration {
		var times []time.Duration
		for range 9 {
			dir := filepath.Join(b.TempDir(), "copy")
			began := time.Now()
			c.git(b, "clone", "-q", remote(rel), dir)
			times = append(times, time.Since(began))
		}
		slices.Sort(times)
		return times[len(times)/2]
	}
	for b.Loop() {
		kept := clone()
		info := g.info(b, rel)
		g.optimize(b, rel, gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER)
		fresh := clone()
		b.ReportMetric(float64(kept.Milliseconds()), "ms/kept-clone")
		b.ReportMetric(float64(fresh.Milliseconds()), "ms/fresh-clone")
		b.ReportMetric(float64(kept)/float64(fresh), "ratio")
		b.ReportMetric(float64(info.GetObjects().GetLooseObjectsCount()), "loose-objects")
		b.ReportMetric(float64(info.GetObjects().GetPackfileCount()), "packs")
		b.ReportMetric(float64(info.GetReferences().GetLooseCount()), "loose-refs")
	}
}
