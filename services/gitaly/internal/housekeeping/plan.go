package housekeeping

import (
	"math"
	"slices"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// Bounds of the heuristics (wire/gitaly.md §15).
const (
	looseObjects     = 1024
	fullRepackPeriod = 5 * 24 * time.Hour
	cruftGrace       = 10 * 24 * time.Hour
	minLooseRefs     = 16
	minUntracked     = 2
)

// pruneGrace is how long Prune keeps what it found unreachable before.
const pruneGrace = 30 * time.Minute

// reftablesCompact is the git that can decide itself whether tables want compacting.
var reftablesCompact = gitcmd.Version{Major: 2, Minor: 45} //nolint:gochecknoglobals // a constant

// facts are what a plan follows from.
type facts struct {
	storage.Info
	pool bool
	now  time.Time
	git  gitcmd.Version
}

// repack is how objects are packed.
type repack int

const (
	noRepack          repack = iota
	incrementalRepack        // loose objects into a pack
	geometricRepack          // small packs and loose objects into a larger pack
	fullRepack               // everything, unreachable objects apart from the others
)

// graph is how the commit-graph is written.
type graph int

const (
	noGraph      graph = iota
	splitGraph         // what is new, beside what is there
	replaceGraph       // all of it
)

// plan is what a run does.
type plan struct {
	repack   repack
	bitmap   bool
	grace    time.Duration // how long a full repack keeps what was found unreachable
	prune    bool
	packRefs bool
	graph    graph
	reasons  []string
}

func (p *plan) because(reason string) { p.reasons = append(p.reasons, reason) }

// plan follows a strategy.
func (f facts) plan(s Strategy) plan {
	switch s {
	case Eager:
		return f.eager()
	case References:
		return f.references()
	case pruning:
		p := f.eager() // packing everything anew is how objects go
		p.grace, p.packRefs, p.reasons = pruneGrace, false, []string{"pruning"}
		return p
	default:
		return f.heuristical()
	}
}

// heuristical does what is worth it.
func (f facts) heuristical() plan {
	p := plan{bitmap: len(f.Alternates) == 0, grace: cruftGrace}
	p.repack = f.wantedRepack(&p)
	if f.StaleLooseObjects > looseObjects && !f.pool {
		p.prune = true
		p.because("stale loose objects")
	}
	p.packRefs = f.wantsPackRefs(&p)
	p.graph = f.wantedGraph(&p)
	return p
}

// references looks at references alone.
func (f facts) references() plan {
	var p plan
	p.packRefs = f.wantsPackRefs(&p)
	return p
}

// eager does everything that makes sense at all.
func (f facts) eager() plan {
	p := plan{
		bitmap: len(f.Alternates) == 0, grace: cruftGrace, prune: !f.pool && f.hasObjects(), packRefs: f.LooseRefs > 0 || f.canCompact(),
		reasons: []string{"eager"},
	}
	if f.hasObjects() {
		p.repack = fullRepack
	}
	if f.hasRefs() {
		p.graph = replaceGraph
	}
	return p
}

func (f facts) hasObjects() bool { return len(f.Packs) > 0 || f.LooseObjects > 0 }

func (f facts) hasRefs() bool { return f.LooseRefs > 0 || f.PackedRefsSize > 0 || f.Reftables != nil }

func (f facts) wantedRepack(p *plan) repack {
	ordinary, size := 0, uint64(0)
	for _, pack := range f.Packs {
		size += pack.Size
		if !pack.Cruft {
			ordinary++
		}
	}
	switch {
	case !f.hasObjects():
		return noRepack
	case len(f.Alternates) > 0 && f.AlternatesTime.After(f.LastFullRepack):
		p.because("alternates changed")
		return fullRepack
	case ordinary > 1 && f.now.Sub(f.LastFullRepack) > fullRepackPeriod:
		p.because("last full repack is long ago")
		return fullRepack
	case f.MultiPackIndex.Version == 0:
		p.because("no multi-pack-index")
		return geometricRepack
	case len(f.Alternates) == 0 && f.MultiPackBitmap.Version == 0: // it has stopped to borrow
		p.because("no bitmap")
		return geometricRepack
	case f.untracked() > max(minUntracked, logarithm(float64(size>>20), 1.8)):
		p.because("packs outside of the multi-pack-index")
		return geometricRepack
	case f.LooseObjects > looseObjects:
		p.because("loose objects")
		return incrementalRepack
	}
	return noRepack
}

// untracked counts the packs that the multi-pack-index does not know.
func (f facts) untracked() int {
	known := map[string]bool{}
	for _, name := range f.MultiPackIndex.Packs {
		known[name] = true
	}
	n := 0
	for _, pack := range f.Packs {
		if !known[pack.Name] {
			n++
		}
	}
	return n
}

// logarithm is 0 for what has none.
func logarithm(x, base float64) int {
	if x < 1 {
		return 0
	}
	return int(math.Log(x) / math.Log(base))
}

func (f facts) wantsPackRefs(p *plan) bool {
	if f.Reftables != nil {
		if f.canCompact() && !geometric(f.Reftables) {
			p.because("reference tables")
			return true
		}
		return false
	}
	limit := max(minLooseRefs, logarithm(float64(f.PackedRefsSize)/100, 1.15))
	if f.LooseRefs < uint64(limit) { //nolint:gosec // never negative
		return false
	}
	p.because("loose references")
	return true
}

func (f facts) canCompact() bool { return f.Reftables != nil && f.git.AtLeast(reftablesCompact) }

// geometric reports whether each table, oldest first, is at least twice as large as
// the next.
func geometric(sizes []uint64) bool {
	return slices.IsSortedFunc(sizes, func(next, before uint64) int {
		if before < 2*next {
			return -1
		}
		return 0
	})
}

// wantedGraph looks at what is there and at what the plan will change: commits that
// go must leave the graph too.
func (f facts) wantedGraph(p *plan) graph {
	expires := p.repack == fullRepack && !f.pool
	switch {
	case !f.hasRefs():
		return noGraph
	case p.prune || expires:
		return replaceGraph
	case f.CommitGraph.ChainLength == 0 || !f.CommitGraph.Bloom || !f.CommitGraph.GenerationData:
		p.because("commit-graph is missing or old")
		return replaceGraph
	case p.repack != noRepack:
		return splitGraph
	}
	return noGraph
}
