package housekeeping

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // for summer time

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// good are the facts of a repository that needs nothing.
func good(now time.Time) facts {
	return facts{now: now, git: gitcmd.Version{Major: 2, Minor: 39}, Info: storage.Info{
		Packs:           []storage.Pack{{Name: "pack-a", Size: 1 << 20, Indexed: true}},
		MultiPackIndex:  storage.MultiPackIndex{Version: 1, Packs: []string{"pack-a"}},
		MultiPackBitmap: storage.Bitmap{Version: 1},
		CommitGraph:     storage.CommitGraph{Exists: true, ChainLength: 1, Bloom: true, GenerationData: true},
		LastFullRepack:  now.Add(-24 * time.Hour), PackedRefsSize: 1000,
	}}
}

func packs(n int, size uint64) (out []storage.Pack) {
	for i := range n {
		out = append(out, storage.Pack{Name: "pack-" + string(rune('b'+i)), Size: size, Indexed: true})
	}
	return out
}

func TestFacts_heuristical(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, tc := range []struct {
		name   string
		change func(f *facts)
		want   plan // without grace and reasons; bitmap is expected unless noBitmap
		alone  bool // has alternates: no bitmap
	}{
		{name: "nothing to do", change: func(*facts) {}},
		{name: "empty", change: func(f *facts) { *f = facts{now: now} }},
		{name: "no multi-pack-index", change: func(f *facts) { f.MultiPackIndex = storage.MultiPackIndex{} }, want: plan{repack: geometricRepack, graph: splitGraph}},
		{name: "no bitmap", change: func(f *facts) { f.MultiPackBitmap = storage.Bitmap{} }, want: plan{repack: geometricRepack, graph: splitGraph}},
		{name: "no bitmap, borrows", change: func(f *facts) {
			f.MultiPackBitmap, f.Alternates, f.AlternatesTime = storage.Bitmap{}, []string{"../x"}, now.Add(-2*day)
		}, alone: true},
		{name: "loose objects alone, no multi-pack-index", change: func(f *facts) {
			f.Packs, f.MultiPackIndex, f.LooseObjects, f.CommitGraph = nil, storage.MultiPackIndex{}, 3, storage.CommitGraph{}
		}, want: plan{repack: geometricRepack, graph: replaceGraph}},
		{name: "two packs outside", change: func(f *facts) { f.Packs = append(f.Packs, packs(2, 1)...) }},
		{name: "three packs outside", change: func(f *facts) { f.Packs = append(f.Packs, packs(3, 1)...) }, want: plan{repack: geometricRepack, graph: splitGraph}},
		{name: "three packs outside of a large repository", change: func(f *facts) {
			f.Packs = append(f.Packs, packs(3, 1)...)
			f.Packs[0].Size = 1 << 30 // log(1024)/log(1.8) = 11.8
		}},
		{name: "twelve packs outside of a large repository", change: func(f *facts) {
			f.Packs = append(f.Packs, packs(12, 1)...)
			f.Packs[0].Size = 1 << 30
		}, want: plan{repack: geometricRepack, graph: splitGraph}},
		{name: "full repack long ago", change: func(f *facts) {
			f.Packs, f.LastFullRepack = append(f.Packs, packs(1, 1)...), now.Add(-5*day-time.Second)
		}, want: plan{repack: fullRepack, graph: replaceGraph}},
		{name: "full repack never", change: func(f *facts) {
			f.Packs, f.LastFullRepack = append(f.Packs, packs(1, 1)...), time.Time{}
		}, want: plan{repack: fullRepack, graph: replaceGraph}},
		{name: "full repack long ago, one pack", change: func(f *facts) { f.LastFullRepack = now.Add(-50 * day) }},
		{name: "full repack long ago, one pack and a cruft pack", change: func(f *facts) {
			f.Packs, f.LastFullRepack = append(f.Packs, storage.Pack{Name: "pack-c", Cruft: true}), now.Add(-50*day)
		}},
		{name: "full repack of a pool", change: func(f *facts) {
			f.Packs, f.LastFullRepack, f.pool = append(f.Packs, packs(1, 1)...), now.Add(-6*day), true
		}, want: plan{repack: fullRepack, graph: splitGraph}},
		{name: "alternates changed", change: func(f *facts) {
			f.Alternates, f.AlternatesTime = []string{"../x"}, now.Add(-time.Hour)
		}, want: plan{repack: fullRepack, graph: replaceGraph}, alone: true},
		{name: "alternates as before", change: func(f *facts) {
			f.Alternates, f.AlternatesTime = []string{"../x"}, now.Add(-2*day)
		}, alone: true},
		{name: "1024 loose objects", change: func(f *facts) { f.LooseObjects = 1024 }},
		{name: "1025 loose objects", change: func(f *facts) { f.LooseObjects = 1025 }, want: plan{repack: incrementalRepack, graph: splitGraph}},
		{name: "stale loose objects", change: func(f *facts) { f.LooseObjects, f.StaleLooseObjects = 1025, 1025 },
			want: plan{repack: incrementalRepack, prune: true, graph: replaceGraph}},
		{name: "stale loose objects of a pool", change: func(f *facts) { f.LooseObjects, f.StaleLooseObjects, f.pool = 1025, 1025, true },
			want: plan{repack: incrementalRepack, graph: splitGraph}},
		{name: "15 loose references", change: func(f *facts) { f.LooseRefs, f.PackedRefsSize = 15, 0 }},
		{name: "16 loose references", change: func(f *facts) { f.LooseRefs, f.PackedRefsSize = 16, 0 }, want: plan{packRefs: true}},
		{name: "65 loose references of 10000", change: func(f *facts) { f.LooseRefs, f.PackedRefsSize = 64, 1e6 }},
		{name: "66 loose references of 10000", change: func(f *facts) { f.LooseRefs, f.PackedRefsSize = 65, 1e6 }, want: plan{packRefs: true}},
		{name: "no commit-graph", change: func(f *facts) { f.CommitGraph = storage.CommitGraph{} }, want: plan{graph: replaceGraph}},
		{name: "commit-graph in one file", change: func(f *facts) { f.CommitGraph.ChainLength = 0 }, want: plan{graph: replaceGraph}},
		{name: "no bloom filters", change: func(f *facts) { f.CommitGraph.Bloom = false }, want: plan{graph: replaceGraph}},
		{name: "no generation data", change: func(f *facts) { f.CommitGraph.GenerationData = false }, want: plan{graph: replaceGraph}},
		{name: "no commit-graph, no references", change: func(f *facts) { f.CommitGraph, f.PackedRefsSize = storage.CommitGraph{}, 0 }},
		{name: "reference tables in order", change: func(f *facts) { f.Reftables, f.git.Minor = []uint64{400, 200, 90}, 45 }},
		{name: "reference tables out of order", change: func(f *facts) { f.Reftables, f.git.Minor = []uint64{400, 200, 101}, 45 }, want: plan{packRefs: true}},
		{name: "reference tables and an old git", change: func(f *facts) { f.Reftables = []uint64{400, 300} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := good(now)
			tc.change(&f)
			got := f.plan(Heuristical)
			tc.want.bitmap, tc.want.grace = !tc.alone, 10*day
			if anything := tc.want.repack != noRepack || tc.want.prune || tc.want.packRefs || tc.want.graph != noGraph; anything != (len(got.reasons) > 0) {
				t.Errorf("reasons: %q", got.reasons)
			}
			got.reasons = nil
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFacts_plan(t *testing.T) {
	t.Parallel()
	now := time.Now()
	busy := good(now)
	busy.LooseRefs, busy.LooseObjects = 20, 2000
	pool, member := busy, busy
	pool.pool, member.Alternates = true, []string{"../x"}
	all := plan{repack: fullRepack, bitmap: true, grace: cruftGrace, prune: true, packRefs: true, graph: replaceGraph}
	ofPool, ofMember, soon := all, all, all
	ofPool.prune, ofMember.bitmap = false, false
	soon.grace, soon.packRefs = 30*time.Minute, false
	for _, tc := range []struct {
		facts    facts
		strategy Strategy
		want     plan
	}{
		{busy, Eager, all},
		{pool, Eager, ofPool},
		{member, Eager, ofMember},
		{facts{now: now}, Eager, plan{bitmap: true, grace: cruftGrace}},
		{busy, References, plan{packRefs: true}},
		{good(now), References, plan{}},
		{busy, pruning, soon},
	} {
		got := tc.facts.plan(tc.strategy)
		got.reasons = nil
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.strategy, diff)
		}
	}
}

func TestSplitPacks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		objects []uint64
		want    int
	}{
		{nil, 0},
		{[]uint64{5}, 0},
		{[]uint64{1, 2, 4, 8}, 0},
		{[]uint64{1, 1}, 2},
		{[]uint64{1, 1, 100}, 2},
		{[]uint64{1, 1, 3, 100}, 3}, // the merged two would be too close to the third
		{[]uint64{1, 2, 3, 7, 100}, 4},
		{[]uint64{10, 20, 39, 100}, 4},
		{[]uint64{3, 10, 15, 100, 150}, 5},
		{[]uint64{1, 4, 16, 64}, 0},
	} {
		var in []countedPack
		for _, n := range tc.objects {
			in = append(in, countedPack{objects: n})
		}
		if got := splitPacks(in); got != tc.want {
			t.Errorf("splitPacks(%v) = %d, want %d", tc.objects, got, tc.want)
		}
	}
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	g := generations{young: map[string]writes{}}
	name := func(i int) string { return string(rune(i)) }
	for i := range 10 * remembered {
		w := g.take("often")
		w.all++
		g.put("often", w)
		g.put(name(i), writes{all: 1})
	}
	if w := g.take("often"); w.all != 10*remembered {
		t.Errorf("writes of a busy repository: %d", w.all)
	}
	if n := len(g.young) + len(g.old); n > 2*remembered {
		t.Errorf("%d repositories are remembered", n)
	}
	if w := g.take(name(0)); w.all != 0 {
		t.Errorf("an idle repository is remembered: %v", w)
	}
}

func TestDaily_next(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	d := Daily{Hour: 2, Minute: 30}
	for _, tc := range []struct{ now, want time.Time }{
		{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 2, 30, 0, 0, time.UTC)},
		{time.Date(2026, 1, 1, 2, 30, 0, 0, time.UTC), time.Date(2026, 1, 2, 2, 30, 0, 0, time.UTC)},
		{time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 2, 30, 0, 0, time.UTC)},
		{time.Date(2026, 3, 29, 1, 0, 0, 0, berlin), time.Date(2026, 3, 29, 3, 30, 0, 0, berlin)}, // there is no 2:30
		{time.Date(2026, 10, 24, 12, 0, 0, 0, berlin), time.Date(2026, 10, 25, 2, 30, 0, 0, berlin)},
	} {
		if got := d.next(tc.now); !got.Equal(tc.want) {
			t.Errorf("next(%v) = %v, want %v", tc.now, got, tc.want)
		}
	}
}

func TestDaily_Run(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := Daily{Hour: 12, Length: 10 * time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithTimeout(t.Context(), 71*time.Hour)
		defer cancel()
		d.Run(ctx)
		if n := strings.Count(log.String(), "daily maintenance ended"); n != 3 {
			t.Errorf("%d windows in three days: %s", n, log.String())
		}
	})
}

func TestCompare(t *testing.T) {
	t.Parallel()
	paths := []string{"a/b.git", "a.git", "", "a/a/z.git", "b/a.git"}
	slices.SortFunc(paths, compare)
	if !slices.Equal(paths, []string{"", "a/a/z.git", "a/b.git", "a.git", "b/a.git"}) {
		t.Errorf("%q", paths)
	}
}
