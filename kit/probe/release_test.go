package probe

import (
	"runtime"
	"testing"
)

var sink []byte

// TestReleaser works, comes to rest, and works again: memory is given back once per
// rest, and not while there is work. Not parallel: it counts what the process allocates.
func TestReleaser(t *testing.T) {
	released := 0
	r := newReleaser()
	r.free = func() { released++; runtime.GC() }
	work := func() {
		for range 8 {
			sink = make([]byte, restBytes)
		}
		r.round()
	}
	rest := func() {
		for range 2 * restRounds {
			r.round()
		}
	}
	for range 2 * restRounds {
		work()
	}
	if released != 0 {
		t.Errorf("released %d times during work", released)
	}
	rest()
	if released != 1 {
		t.Errorf("released %d times in a rest, want once", released)
	}
	work()
	rest()
	if released != 2 {
		t.Errorf("released %d times in two rests", released)
	}
}
