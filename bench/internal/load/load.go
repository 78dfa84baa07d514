// Package load makes requests at fixed rates, whatever the server does with them: each
// has its moment, and its time counts from there, so that a server that falls behind
// is seen to (an open loop).
package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gitsplit/bench/internal/stats"
)

// Kind is one sort of request.
type Kind struct {
	Name string
	Rate float64 // per second
	// Do makes the n-th request. It is called by many at once.
	Do func(ctx context.Context, n int) error
}

// Outcome is what came of the requests of a kind.
type Outcome struct {
	Name   string
	Times  []float64 // in milliseconds, of those that went well
	Errors int
	First  error // the first of them
}

// maxOpen bounds the requests in flight; more fail at once, as a full server's would.
const maxOpen = 2000

// Run makes requests of all kinds for a time and returns when all have been answered.
func Run(ctx context.Context, kinds []Kind, length time.Duration) []Outcome {
	out := make([]Outcome, len(kinds))
	began := time.Now()
	open := make(chan struct{}, maxOpen)
	var wg sync.WaitGroup
	for i, k := range kinds {
		wg.Go(func() { out[i] = k.run(ctx, began, length, open) })
	}
	wg.Wait()
	return out
}

func (k Kind) run(ctx context.Context, began time.Time, length time.Duration, open chan struct{}) Outcome {
	out := Outcome{Name: k.Name}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := 0; ctx.Err() == nil; n++ {
		at := began.Add(time.Duration(float64(n) / k.Rate * float64(time.Second)))
		if at.Sub(began) >= length {
			break
		}
		wait(ctx, at)
		done := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			out.note(time.Since(at), err)
		}
		select {
		case open <- struct{}{}:
			wg.Go(func() {
				defer func() { <-open }()
				done(k.Do(ctx, n))
			})
		default:
			done(fmt.Errorf("%d requests are waiting already", maxOpen))
		}
	}
	wg.Wait()
	return out
}

func (o *Outcome) note(took time.Duration, err error) {
	if err == nil {
		o.Times = append(o.Times, float64(took)/float64(time.Millisecond))
		return
	}
	o.Errors++
	if o.First == nil {
		o.First = err
	}
}

func wait(ctx context.Context, at time.Time) {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Percentiles are the 50th, 90th and 99th of the times.
func (o Outcome) Percentiles() (p50, p90, p99 float64) {
	return stats.Quantile(o.Times, 0.5), stats.Quantile(o.Times, 0.9), stats.Quantile(o.Times, 0.99)
}
