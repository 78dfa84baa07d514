package limit

import (
	"context"
	"log/slog"
	"time"
)

// How often pressure is looked for, and after how many looks the limits move
// (wire/gitaly.md §10: 10 and 30 seconds).
const (
	pollInterval = 10 * time.Second
	pollsPerMove = 3
)

// Watcher looks for one kind of pressure.
type Watcher struct {
	Name     string // as metrics have it
	Pressure func() (bool, error)
}

// AdaptiveObserver hears of limits that move, for metrics.
type AdaptiveObserver interface {
	Limit(name string, n int)
	Backoff(watcher string)
}

// Adaptive moves limits with the pressure on the machine.
type Adaptive struct {
	Limits   map[string]*Limiter // by their name in metrics
	Watchers []Watcher
	Observer AdaptiveObserver
	Log      *slog.Logger
}

// Run moves the limits until ctx ends.
func (a *Adaptive) Run(ctx context.Context) {
	for name, l := range a.Limits {
		a.Observer.Limit(name, l.rule.Running)
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	pressure := false
	for polls := 1; ; polls++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pressure = a.poll(ctx) || pressure
		if polls%pollsPerMove != 0 {
			continue
		}
		for name, l := range a.Limits {
			a.Observer.Limit(name, l.Adapt(pressure))
		}
		pressure = false
	}
}

// poll asks every watcher. One that fails sees no pressure.
func (a *Adaptive) poll(ctx context.Context) bool {
	found := false
	for _, w := range a.Watchers {
		pressure, err := w.Pressure()
		if err != nil {
			a.Log.WarnContext(ctx, "pressure is not known", slog.String("watcher", w.Name), slog.Any("error", err))
		}
		if pressure {
			a.Log.InfoContext(ctx, "limits back off", slog.String("watcher", w.Name))
			a.Observer.Backoff(w.Name)
			found = true
		}
	}
	return found
}
