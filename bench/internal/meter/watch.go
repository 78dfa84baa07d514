package meter

import (
	"context"
	"sync"
	"time"
)

// every is how often running processes are looked at. The kernel keeps the peak of
// each; only what a child needs in its last moments can be missed.
const every = 100 * time.Millisecond

// Watch follows the peak memory of all processes in trees.
type Watch struct {
	stop context.CancelFunc
	done sync.WaitGroup
	peak map[string]int64
	used func() time.Duration
	cpu  time.Duration
	root []int
	self map[int]Proc // at the start
}

// Start begins to watch the trees below roots, whose processor time used tells. Call
// Stop.
func Start(ctx context.Context, used func() time.Duration, roots ...int) *Watch {
	ctx, stop := context.WithCancel(ctx)
	w := &Watch{stop: stop, peak: map[string]int64{}, used: used, cpu: used(), root: roots, self: map[int]Proc{}}
	for _, p := range Tree(roots...) {
		w.self[p.PID] = p
		_ = ResetPeak(p.PID) // not ours to reset: then its peak is that of its life
	}
	w.done.Go(func() {
		for t := time.NewTicker(every); ; {
			w.look()
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
	})
	return w
}

func (w *Watch) look() {
	for _, p := range Tree(w.root...) {
		if m, err := MemoryOf(p.PID); err == nil {
			w.peak[p.Name] = max(w.peak[p.Name], m.Peak)
		}
	}
}

// Stop ends the watch and returns the processor time since Start and the peak memory
// of the largest process of each name, in bytes.
func (w *Watch) Stop() (cpu time.Duration, peak map[string]int64) {
	w.stop()
	w.done.Wait()
	w.look()
	return w.used() - w.cpu, w.peak
}

// Ended is the name under which By counts what has come and gone.
const Ended = "programs that ended"

// By splits the processor time until now by the names of the processes that were there
// at the start and still are; the rest is that of those that have ended. To be called
// after Stop, with what that has returned.
func (w *Watch) By(total time.Duration) map[string]time.Duration {
	by, rest := map[string]time.Duration{}, total
	for _, p := range Tree(w.root...) {
		if before, ok := w.self[p.PID]; ok && before.Name == p.Name {
			by[p.Name] += p.Self - before.Self
			rest -= p.Self - before.Self
		}
	}
	by[Ended] = max(0, rest)
	return by
}
