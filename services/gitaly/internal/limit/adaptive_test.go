package limit_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/limit"
)

func TestAdaptive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen, pressure := &record{}, &atomic.Bool{}
		a := &limit.Adaptive{
			Limits: map[string]*limit.Limiter{"packs": limit.New(limit.Rule{Running: 5, Min: 2, Max: 6})},
			Watchers: []limit.Watcher{
				{Name: "broken", Pressure: func() (bool, error) { return false, errors.New("no file") }},
				{Name: "memory", Pressure: func() (bool, error) { return pressure.Load(), nil }},
			},
			Observer: seen, Log: logging.Discard(),
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			a.Run(ctx)
			close(ended)
		}()
		step := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d) // of the bubble's clock
			synctest.Wait()
			if got := seen.take(); !slices.Equal(got, want) {
				t.Errorf("observed %q, want %q", got, want)
			}
		}
		step(0, "packs 5")
		step(29*time.Second, []string(nil)...)
		step(time.Second, "packs 6")
		step(30*time.Second, "packs 6")
		pressure.Store(true)
		step(10*time.Second, "backoff memory") // noted, and counted when the limits move
		pressure.Store(false)
		step(20*time.Second, "packs 3")
		step(30*time.Second, "packs 4")
		stop()
		<-ended
	})
}
