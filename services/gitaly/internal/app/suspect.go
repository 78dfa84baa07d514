package app

import (
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/suspect"
)

// openMarks reads which repositories are to be checked.
func (a *App) openMarks() error {
	var err error
	if a.marks, err = suspect.Open(suspect.Options{Log: a.log, Due: a.check}, a.locator.Storages()...); err != nil {
		return err
	}
	for _, st := range a.locator.Storages() {
		a.metrics.WatchSuspects(st.Name, func() int { return len(a.marks.List(st.Name)) })
	}
	return nil
}

// checkMarked makes housekeeping look at what was marked before.
func (a *App) checkMarked() {
	for _, st := range a.locator.Storages() {
		for _, path := range a.marks.List(st.Name) {
			a.check(st.Name, path)
		}
	}
}

// check makes housekeeping look at a repository that is marked.
func (a *App) check(storageName, path string) {
	if repo, err := a.locator.Locate(&gitalypb.Repository{StorageName: storageName, RelativePath: path}); err == nil {
		a.scheduler.Check(repo)
	}
}
