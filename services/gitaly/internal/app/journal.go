package app

import (
	"context"
	"fmt"
	"time"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/ref"
)

// Journal is [journal], which is ours: pushes until the internal API knows of them.
type Journal struct {
	// MaxUndelivered is how many pushes of one storage may wait for the internal API;
	// then further ones are refused.
	MaxUndelivered int `toml:"max_undelivered"`
	// MaxBytes bounds the records of one storage, in memory and on disk.
	MaxBytes int64 `toml:"max_bytes"`
}

func defaultJournal() Journal { return Journal{MaxUndelivered: 10_000, MaxBytes: 256 << 20} }

func (j Journal) faults() []error {
	var faults []error
	if j.MaxUndelivered <= 0 {
		faults = append(faults, fmt.Errorf("journal.max_undelivered: %d is not a positive number", j.MaxUndelivered))
	}
	if j.MaxBytes <= 0 {
		faults = append(faults, fmt.Errorf("journal.max_bytes: %d is not a size", j.MaxBytes))
	}
	return faults
}

// openJournal opens the journals of all storages. It comes after the processes of a dead
// gitaly have been ended, which could move references still.
func (a *App) openJournal(git *gitcmd.Factory, client *api.Client) error {
	read := func(ctx context.Context, storageName, path string, names []string) (map[string]string, error) {
		repo, err := a.locator.Find(&gitalypb.Repository{StorageName: storageName, RelativePath: path})
		if err != nil {
			return nil, err
		}
		return ref.Read(ctx, git, &repo.Repo, names)
	}
	var err error
	a.journal.Journal, err = journal.Open(journal.Options{
		API: client, References: read, Observer: a.metrics, Log: a.log, Now: time.Now,
		MaxUndelivered: a.cfg.Journal.MaxUndelivered, MaxBytes: a.cfg.Journal.MaxBytes, Patience: a.cfg.GitLab.HTTPSettings.ReadTimeout.D(),
	}, a.locator.Storages()...)
	if err != nil {
		return err
	}
	a.journal.Locator = a.locator
	a.closers = append(a.closers, a.journal.Journal.Close)
	for _, st := range a.locator.Storages() {
		a.metrics.WatchJournal(st.Name, func() (int, time.Time) {
			s := a.journal.Journal.State()[st.Name]
			return s.Undelivered, s.Oldest
		})
	}
	return nil
}
