package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gitsplit/e2e/internal/user"
)

// load are clients that push and clone all the time.
type load struct {
	lanes []*lane
	quit  chan struct{}
	all   sync.WaitGroup
	done  atomic.Int64
	// away is odd while operations may fail; missed are those.
	away   atomic.Int64
	missed atomic.Int64

	mu     sync.Mutex
	failed []string
}

// load starts clients, each with a project of its own, over both transports in turn.
func (s *site) load(ctx context.Context, clients int) (*load, error) {
	o := &load{quit: make(chan struct{})}
	for i := range clients {
		l, err := s.newLane(ctx, []string{"ssh", "http"}[i%2])
		if err != nil {
			return nil, err
		}
		o.lanes = append(o.lanes, l)
	}
	for _, l := range o.lanes {
		o.all.Go(func() {
			for {
				select {
				case <-o.quit:
					return
				default:
					o.once(ctx, l)
				}
			}
		})
	}
	return o, nil
}

// once pushes, and clones what it has pushed.
func (o *load) once(ctx context.Context, l *lane) {
	for _, step := range []func(context.Context) error{l.pushOnce, l.cloneOnce} {
		began, away := time.Now(), o.away.Load()
		err := step(ctx)
		if err != nil && (away%2 == 1 || o.away.Load() != away) {
			o.missed.Add(1)
			return
		}
		if err != nil {
			o.mu.Lock()
			o.failed = append(o.failed, fmt.Sprintf("%s, begun at %s: %v", l.name, began.UTC().Format(time.RFC3339Nano), err))
			o.mu.Unlock()
			return
		}
		o.done.Add(1)
	}
}

// more waits until clients have done so many more operations.
func (o *load) more(ctx context.Context, operations int) error {
	want := o.done.Load() + int64(operations)
	return poll(ctx, time.Minute, func() error {
		if done := o.done.Load(); done < want {
			return fmt.Errorf("%d operations of %d", done, want)
		}
		return nil
	})
}

// end stops the clients and says what has failed.
func (o *load) end() ([]*lane, []string) {
	close(o.quit)
	o.all.Wait()
	return o.lanes, o.failed
}

func (l *lane) pushOnce(ctx context.Context) error {
	if err := l.commit(ctx, 1000); err != nil {
		return err
	}
	_, err := l.git(ctx, l.work, "push", "-q", l.remote, "+main", "+side")
	return err
}

// cloneOnce clones, and looks whether it got what was pushed last.
func (l *lane) cloneOnce(ctx context.Context) error {
	target := filepath.Join(l.site.dir, "tmp", "clone-"+l.name+"-"+user.RandomHex(4))
	defer os.RemoveAll(target) //nolint:errcheck // best effort
	if _, err := l.git(ctx, "", "clone", "-q", "--no-checkout", l.remote, target); err != nil {
		return err
	}
	want, err := l.git(ctx, l.work, "rev-parse", "main")
	if err != nil {
		return err
	}
	got, err := l.git(ctx, target, "rev-parse", "refs/remotes/origin/main")
	if err == nil && got != want {
		err = fmt.Errorf("the clone's main is %q, want %q", got, want)
	}
	return err
}

// sound looks whether all is well with the lanes of a site that rests.
func (s *site) sound(t *testing.T, lanes []*lane) {
	t.Helper()
	var jobs []*job
	found := map[*job]*verdict{}
	for _, l := range lanes {
		j := &job{lane: l}
		jobs, found[j] = append(jobs, j), &verdict{}
	}
	s.judge(t.Context(), jobs, found, false)
	for j, v := range found {
		for _, text := range v.all() {
			t.Errorf("project %d: %s", j.lane.id, text)
		}
	}
}
