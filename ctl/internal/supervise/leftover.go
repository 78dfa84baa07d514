package supervise

import (
	"context"
	"syscall"
	"time"

	"gitsplit/ctl/internal/proc"
)

// Leftover names a process of a supervisor that is gone.
type Leftover struct {
	Name string
	PID  int
	// StartTicks tells it from a later process with the same pid (proc.StartTicks).
	StartTicks uint64
}

// Clear waits for leftovers to end, since the kernel has told them to when their
// supervisor died, and then ends those that do not: with SIGQUIT, which PostgreSQL
// takes for "at once, and take your children with you", and at last SIGKILL.
// It returns those that had to be ended so.
func Clear(ctx context.Context, leftovers []Leftover, patience time.Duration) []Leftover {
	rest := await(ctx, leftovers, patience)
	forced := rest
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		for _, l := range rest {
			_ = syscall.Kill(-l.PID, sig)
		}
		rest = await(ctx, rest, patience)
	}
	return forced
}

// await returns those that still run when patience is at its end.
func await(ctx context.Context, leftovers []Leftover, patience time.Duration) []Leftover {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var alive []Leftover
		for _, l := range leftovers {
			if l.PID > 1 && proc.Alive(l.PID, l.StartTicks) {
				alive = append(alive, l)
			}
		}
		if len(alive) == 0 || ctx.Err() != nil {
			return alive
		}
		pause(ctx, lastInterval/4)
	}
}
