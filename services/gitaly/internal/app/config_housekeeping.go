package app

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"gitsplit/kit/config"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/storage"
)

// Housekeeping is [housekeeping], ours.
type Housekeeping struct {
	// MaxConcurrency is how many repositories are kept at a time.
	MaxConcurrency int `toml:"max_concurrency"`
}

// defaultHousekeeping leaves most of the machine to those who wait for it.
func defaultHousekeeping() Housekeeping {
	return Housekeeping{MaxConcurrency: max(1, min(2, runtime.NumCPU()/2))}
}

// DailyMaintenance is [daily_maintenance]: once a day, also repositories that nobody
// writes to have their turn.
type DailyMaintenance struct {
	StartHour   int             `toml:"start_hour"` // local time
	StartMinute int             `toml:"start_minute"`
	Duration    config.Duration `toml:"duration"` // what is not done by then is the next day's
	Storages    []string        `toml:"storages"` // by default all
	Disabled    bool            `toml:"disabled"`
}

// maxDaily is the longest window: after it the next one opens.
const maxDaily = 24 * time.Hour

func defaultDailyMaintenance() DailyMaintenance {
	return DailyMaintenance{StartHour: 12, Duration: config.Duration(10 * time.Minute)}
}

func (c Config) housekeepingFaults() []error {
	var faults []error
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(key+": "+format, args...))
	}
	if n := c.Housekeeping.MaxConcurrency; n < 1 {
		add("housekeeping.max_concurrency", "%d is less than 1", n)
	}
	d := c.DailyMaintenance
	if d.StartHour < 0 || d.StartHour > 23 {
		add("daily_maintenance.start_hour", "%d is not between 0 and 23", d.StartHour)
	}
	if d.StartMinute < 0 || d.StartMinute > 59 {
		add("daily_maintenance.start_minute", "%d is not between 0 and 59", d.StartMinute)
	}
	if d.Duration <= 0 || d.Duration.D() > maxDaily {
		add("daily_maintenance.duration", "%v is not between 0 and %v", d.Duration, maxDaily)
	}
	for _, name := range d.Storages {
		if !slices.ContainsFunc(c.Storages, func(s Storage) bool { return s.Name == name }) {
			add("daily_maintenance.storages", "%q is not a storage", name)
		}
	}
	return faults
}

// daily is the maintenance window, nil when there is none.
func (a *App) daily() *housekeeping.Daily {
	d := a.cfg.DailyMaintenance
	if d.Disabled {
		return nil
	}
	var storages []*storage.Storage
	for _, st := range a.locator.Storages() {
		if len(d.Storages) == 0 || slices.Contains(d.Storages, st.Name) {
			storages = append(storages, st)
		}
	}
	return &housekeeping.Daily{
		Manager: a.deps.Housekeeping, Locator: a.locator, Storages: storages,
		Hour: d.StartHour, Minute: d.StartMinute, Length: d.Duration.D(), Log: a.log,
	}
}
