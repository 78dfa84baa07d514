package housekeeping

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
	"gitsplit/services/gitaly/internal/storage"
)

// Daily is the maintenance window of every day: in it, one repository after the other
// is optimized by heuristics. The next day goes on where the window closed.
type Daily struct {
	Manager      *Manager
	Locator      method.Locator
	Storages     []*storage.Storage
	Hour, Minute int           // when the window opens, local time
	Length       time.Duration // how long it is open
	Log          *slog.Logger

	last map[string]string // by storage, the last repository that had its turn
}

// Run works until ctx ends.
func (d *Daily) Run(ctx context.Context) {
	d.last = map[string]string{}
	for {
		timer := time.NewTimer(time.Until(d.next(time.Now())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		window, shut := context.WithTimeout(ctx, d.Length)
		visited := 0
		for _, st := range d.Storages {
			visited += d.storage(window, st)
		}
		shut()
		d.Log.InfoContext(ctx, "daily maintenance ended", slog.Int("repositories", visited))
	}
}

// next returns when the window opens next.
func (d *Daily) next(now time.Time) time.Time {
	year, month, day := now.Date()
	start := time.Date(year, month, day, d.Hour, d.Minute, 0, 0, now.Location())
	if !start.After(now) {
		start = time.Date(year, month, day+1, d.Hour, d.Minute, 0, 0, now.Location())
	}
	return start
}

// storage visits the repositories of a storage, those behind the last one first, and
// returns how many.
func (d *Daily) storage(ctx context.Context, st *storage.Storage) int {
	last, visited := d.last[st.Name], 0
	visit := func(behind bool) error {
		return storage.EachRepository(ctx, st.Path, func(dir string) {
			rel, _ := filepath.Rel(st.Path, dir)
			if ctx.Err() != nil || (compare(rel, last) > 0) != behind {
				return
			}
			repo, err := d.Locator.Locate(&gitalypb.Repository{StorageName: st.Name, RelativePath: rel})
			if err != nil {
				return
			}
			d.Manager.visit(ctx, job{repo, Heuristical})
			d.last[st.Name] = rel
			visited++
		})
	}
	if visit(true) == nil && visit(false) == nil {
		delete(d.last, st.Name) // all had their turn
	}
	return visited
}

// compare orders paths as a walk meets them.
func compare(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}
