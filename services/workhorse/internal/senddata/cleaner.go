package senddata

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"gitsplit/kit/logging"
)

// Archives bounds what is kept of archives, in the directories that rails-api has
// named (wire/workhorse.md §5.2).
type Archives struct {
	Limit int64         // bytes of one directory
	Age   time.Duration // after which an archive goes
	Log   *slog.Logger
	Now   func() time.Time

	mu   sync.Mutex
	dirs map[string]bool
	wake chan struct{}
}

// NewArchives returns what bounds the caches once it runs.
func NewArchives(limit int64, age time.Duration, log *slog.Logger, now func() time.Time) *Archives {
	return &Archives{Limit: limit, Age: age, Log: log, Now: now, dirs: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// maxDirs bounds the directories that are cleaned; rails-api has one.
const maxDirs = 16

// watch makes a directory one that is cleaned, at once and from then on.
func (a *Archives) watch(dir string) {
	a.mu.Lock()
	known := a.dirs[dir]
	if !known && len(a.dirs) < maxDirs {
		a.dirs[dir] = true
	}
	a.mu.Unlock()
	if !known {
		a.stored()
	}
}

// stored says that a cache has grown.
func (a *Archives) stored() {
	select {
	case a.wake <- struct{}{}:
	default: // a cleaning is due already
	}
}

// Run cleans until ctx ends: hourly, and when a cache has grown.
func (a *Archives) Run(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
		case <-a.wake:
		}
		a.mu.Lock()
		dirs := slices.Collect(maps.Keys(a.dirs))
		a.mu.Unlock()
		for _, dir := range dirs {
			if err := a.clean(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.Log.WarnContext(ctx, "clean the archives", slog.Any(logging.KeyError, err))
			}
		}
	}
}

// kept is a file of a cache.
type kept struct {
	name     string
	size     int64
	modified time.Time
}

// clean removes what is too old, then the oldest archives until the rest fits, then
// empty directories. It looks at nothing but archives of projects.
func (a *Archives) clean(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing is written through it
	files, empty, err := a.survey(root)
	slices.SortFunc(files, func(x, y kept) int { return x.modified.Compare(y.modified) })
	total := int64(0)
	for _, f := range files {
		total += f.size
	}
	for _, f := range files {
		draft := strings.HasPrefix(path.Base(f.name), draftPrefix) // somebody may be writing it
		if a.old(f.modified) || total > a.Limit && !draft {
			err = errors.Join(err, root.Remove(f.name))
			total -= f.size
		}
	}
	for _, name := range slices.Backward(empty) { // the deepest come last
		_ = root.Remove(name) // which fails where something has come meanwhile
	}
	return err
}

func (a *Archives) old(modified time.Time) bool { return a.Now().Sub(modified) > a.Age }

// survey lists the archives, and the directories that nobody has touched for long.
func (a *Archives) survey(root *os.Root) (files []kept, dirs []string, err error) {
	const deepest = 4 // project-<id>/<commit>/@v2/<archive>
	projects, err := fs.Glob(root.FS(), "project-*")
	for _, project := range projects {
		err = errors.Join(err, fs.WalkDir(root.FS(), project, func(name string, e fs.DirEntry, walkErr error) error {
			if walkErr != nil {
				return ignoreMissing(walkErr)
			}
			info, err := e.Info()
			switch {
			case err != nil:
				return ignoreMissing(err)
			case e.IsDir() && strings.Count(name, "/") >= deepest-1:
				return fs.SkipDir
			case e.IsDir() && a.old(info.ModTime()):
				dirs = append(dirs, name)
			case info.Mode().IsRegular() && isArchive(name):
				files = append(files, kept{name, info.Size(), info.ModTime()})
			}
			return nil
		}))
	}
	return files, dirs, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
