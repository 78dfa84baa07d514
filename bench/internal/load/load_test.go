package load_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gitsplit/bench/internal/load"
)

// TestRun makes requests at their moments, counts errors, and counts the time that a
// request had to wait for the one before it.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var moments []time.Duration
		got := load.Run(t.Context(), []load.Kind{
			{Name: "good", Rate: 2, Do: func(_ context.Context, _ int) error {
				moments = append(moments, time.Since(began))
				time.Sleep(100 * time.Millisecond)
				return nil
			}},
			{Name: "bad", Rate: 1, Do: func(_ context.Context, n int) error {
				if n == 1 {
					return errors.New("broken")
				}
				return nil
			}},
		}, 3*time.Second)
		if len(moments) != 6 || moments[5] != 2500*time.Millisecond {
			t.Errorf("the moments are %v", moments)
		}
		if p50, _, p99 := got[0].Percentiles(); p50 != 100 || p99 != 100 || got[0].Errors != 0 {
			t.Errorf("good: %v %v %+v", p50, p99, got[0])
		}
		if got[1].Errors != 1 || got[1].First.Error() != "broken" || len(got[1].Times) != 2 {
			t.Errorf("bad: %+v", got[1])
		}
	})
}
