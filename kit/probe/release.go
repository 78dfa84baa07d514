package probe

import (
	"runtime/debug"
	"runtime/metrics"
)

const (
	// restRounds is how many rounds without work make a rest: with interval, half a minute.
	restRounds = 15
	// restBytes is what a round may allocate and still count as rest: probes and metrics do.
	restBytes = 4 << 20
	// worthBytes is what must be gained for a collection to be worth its time.
	worthBytes = 4 << 20
)

// releaser gives memory back to the system when the process has come to rest. Go's own
// scavenger keeps what the last load needed and, with no allocations to start a
// collection, takes minutes to see that it is garbage; a host with many processes would
// rather have it back.
type releaser struct {
	samples []metrics.Sample
	last    uint64 // bytes allocated so far
	quiet   int    // rounds
	done    bool   // in this rest
	free    func()
}

func newReleaser() *releaser {
	return &releaser{free: debug.FreeOSMemory, samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/gc/heap/live:bytes"},
	}}
}

// round looks once. It releases at most once per rest.
func (r *releaser) round() {
	metrics.Read(r.samples)
	value := func(i int) uint64 { return r.samples[i].Value.Uint64() }
	worked := value(0)-r.last > restBytes
	r.last = value(0)
	if worked {
		r.quiet, r.done = 0, false
		return
	}
	if r.quiet++; r.quiet < restRounds || r.done {
		return
	}
	r.done = true
	garbage := value(1) - min(value(1), value(4))
	if garbage+value(2)+value(3) >= worthBytes {
		r.free()
	}
}
