package limit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/limit"
)

func wantRefused(t *testing.T, err error, text string) {
	t.Helper()
	details := status.Convert(err).Details()
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != text || len(details) != 1 {
		t.Fatalf("err = %v with %v, want %q", err, details, text)
	}
	if d, ok := details[0].(*gitalypb.LimitError); !ok || d.GetErrorMessage() != text || d.GetRetryAfter().AsDuration() != 0 {
		t.Errorf("detail = %v", details[0])
	}
}

func acquire(t *testing.T, l *limit.Limiter, key string) func() {
	t.Helper()
	release, err := l.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rule{Running: 1, Queue: 1, Wait: time.Second})
		first := acquire(t, l, "a")
		acquire(t, l, "b")() // another key is not in its way
		waited := make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), "a")
			waited <- err
		}()
		synctest.Wait()
		_, err := l.Acquire(t.Context(), "a")
		wantRefused(t, err, "maximum queue size reached")
		wantRefused(t, <-waited, "maximum time in concurrency queue reached")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Acquire(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		first()
		acquire(t, l, "a")()
	})
}

// TestLimiter_order: turns go to those who wait longest, and nobody is forgotten when
// others give up before them.
func TestLimiter_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rule{Running: 1, Queue: 10})
		first := acquire(t, l, "a")
		var got []int
		ctx, leave := context.WithCancel(t.Context())
		for i := range 6 {
			mine := t.Context()
			if i%3 == 0 {
				mine = ctx
			}
			go func() {
				release, err := l.Acquire(mine, "a")
				if err != nil {
					return
				}
				got = append(got, i)
				release()
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		first()
		synctest.Wait()
		if want := []int{1, 2, 4, 5}; !slices.Equal(got, want) {
			t.Errorf("turns = %v, want %v", got, want)
		}
	})
}

func TestLimiter_Adapt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rule{Running: 4, Queue: 10, Min: 2, Max: 5})
		for _, step := range []struct {
			pressure bool
			want     int
		}{{false, 5}, {false, 5}, {true, 2}, {true, 2}} {
			if got := l.Adapt(step.pressure); got != step.want {
				t.Fatalf("Adapt(%v) = %d, want %d", step.pressure, got, step.want)
			}
		}
		held := []func(){acquire(t, l, "a"), acquire(t, l, "a")}
		admitted := 0
		for range 2 {
			go func() {
				if _, err := l.Acquire(t.Context(), "a"); err == nil {
					admitted++
				}
			}()
		}
		synctest.Wait()
		if admitted != 0 {
			t.Fatalf("%d more than the limit", admitted)
		}
		l.Adapt(false) // room for one of those who wait
		synctest.Wait()
		if admitted != 1 {
			t.Errorf("%d admitted by a higher limit", admitted)
		}
		l.Adapt(true) // back to two, while three run
		held[0]()
		synctest.Wait()
		if admitted != 1 {
			t.Errorf("%d admitted although more run than the limit", admitted)
		}
		held[1]()
		synctest.Wait()
		if admitted != 2 {
			t.Errorf("%d admitted at the end", admitted)
		}
	})
}

func TestLimiter_none(t *testing.T) {
	t.Parallel()
	var l *limit.Limiter
	for range 3 {
		acquire(t, l, "a")
	}
}

// record is an Observer that writes down what it hears.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(line ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprint(line...))
}

func (r *record) Queued(string, int)             {}
func (r *record) Acquired(string, time.Duration) { r.add("acquired") }
func (r *record) Running(_ string, n int)        { r.add("running ", n) }
func (r *record) Limit(name string, n int)       { r.add(name, " ", n) }
func (r *record) Backoff(watcher string)         { r.add("backoff ", watcher) }
func (r *record) Dropped(_, reason string, authenticated bool) {
	r.add("dropped ", reason, " ", authenticated)
}

func (r *record) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func TestPacks(t *testing.T) {
	t.Parallel()
	rule := limit.Rule{Running: 1}
	seen := &record{}
	packs := limit.NewPacks(limit.Split{All: limit.New(rule), Unauthenticated: limit.New(rule)}, seen)
	for _, address := range []string{"", "127.0.0.1", "127.3.2.1:99", "::1", "[::1]:99"} {
		for range 2 {
			if _, err := packs.Acquire(t.Context(), address, "ada"); err != nil {
				t.Errorf("%q: %v", address, err)
			}
		}
	}
	if got := seen.take(); len(got) > 0 {
		t.Errorf("this host's packs are counted: %q", got)
	}
	release, err := packs.Acquire(t.Context(), "192.0.2.1:1", "ada")
	if err != nil {
		t.Fatal(err)
	}
	_, err = packs.Acquire(t.Context(), "192.0.2.1:2", "bob")
	wantRefused(t, err, "maximum queue size reached")
	other, err := packs.Acquire(t.Context(), "192.0.2.1", "") // without a name there is another limit
	if err != nil {
		t.Fatal(err)
	}
	other()
	release()
	want := []string{"acquired", "running 1", "dropped max_size true", "acquired", "running 1", "running -1", "running -1"}
	if got := seen.take(); !slices.Equal(got, want) {
		t.Errorf("observed %q", got)
	}
}
